// An emulation of NVIDIA's management library for tests. Its devices are in the
// file that RBEE_EMU_NVML names, which all processes share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OK, INVALID = 2, TOO_SMALL = 7, NO_DRIVER = 9, MISMATCH = 18 };

typedef struct {
	int32_t pid;
	uint32_t polls; // since its death
	uint64_t used;
} process;

typedef struct {
	char name[64], uuid[64];
	uint64_t total;
	process processes[16];
} gpu;

typedef struct {
	char function[48];
	uint32_t at, calls; // it fails at its at-th call; every call when at is 0
	int32_t code;
	uint32_t pad;
} fault;

typedef struct {
	uint32_t gpus, after; // polls after its death until a process's memory is back
	fault faults[4];
	gpu gpu[4];
} state;

static state *s;
static int fd = -1;

static int begin(const char *function) {
	if (!s)
		return 1; // uninitialized
	flock(fd, LOCK_EX);
	for (int i = 0; i < 4; i++) {
		fault *f = &s->faults[i];
		if (f->code && !strcmp(f->function, function) && (++f->calls == f->at || !f->at))
			return flock(fd, LOCK_UN), f->code;
	}
	return OK;
}

static int end(int code) { return flock(fd, LOCK_UN), code; }

static int dead(int32_t pid) { return kill(pid, 0) && errno == ESRCH; }

int nvmlInit_v2(void) {
	const char *name = getenv("RBEE_EMU_NVML");
	if (!s && name) {
		fd = open(name, O_RDWR | O_CLOEXEC);
		s = mmap(0, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (s == MAP_FAILED)
			s = 0;
	}
	if (!s)
		return NO_DRIVER;
	int err = begin("nvmlInit");
	return err ? err : end(OK);
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code) {
	switch (code) {
	case MISMATCH:
		return "Driver/library version mismatch";
	case 4:
		return "Insufficient Permissions";
	case 15:
		return "GPU is lost";
	}
	return "Unknown Error";
}

int nvmlDeviceGetCount_v2(unsigned *n) {
	int err = begin("nvmlDeviceGetCount");
	if (err)
		return err;
	*n = s->gpus;
	return end(OK);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) {
	if (!s || i >= s->gpus)
		return INVALID;
	*d = &s->gpu[i];
	return OK;
}

int nvmlDeviceGetName(void *d, char *name, unsigned size) { return snprintf(name, size, "%s", ((gpu *)d)->name), OK; }

int nvmlDeviceGetUUID(void *d, char *uuid, unsigned size) { return snprintf(uuid, size, "%s", ((gpu *)d)->uuid), OK; }

typedef struct {
	unsigned version;
	unsigned long long total, reserved, free, used;
} memory_v2;

// Each call is a poll: it brings the memory of the dead a step nearer.
int nvmlDeviceGetMemoryInfo_v2(void *d, memory_v2 *m) {
	gpu *g = d;
	int err = begin("nvmlDeviceGetMemoryInfo");
	if (err)
		return err;
	if (m->version != (sizeof *m | 2u << 24))
		return end(INVALID);
	unsigned long long used = 0;
	for (int i = 0; i < 16; i++) {
		process *p = &g->processes[i];
		if (p->pid && dead(p->pid) && p->polls++ >= s->after)
			*p = (process){0};
		used += p->used;
	}
	m->total = g->total, m->reserved = 0, m->used = used, m->free = g->total - used;
	return end(OK);
}

typedef struct {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
} process_v2;

int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, process_v2 *list) {
	gpu *g = d;
	unsigned most = *n, count = 0;
	int err = begin("nvmlDeviceGetComputeRunningProcesses");
	if (err)
		return err;
	for (int i = 0; i < 16; i++) {
		process *p = &g->processes[i];
		if (!p->pid || dead(p->pid))
			continue;
		if (count < most)
			list[count] = (process_v2){p->pid, p->used, -1u, -1u};
		count++;
	}
	*n = count;
	return end(count > most ? TOO_SMALL : OK);
}
