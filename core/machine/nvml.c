#define _GNU_SOURCE
#include "nvml.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *device;

typedef struct {
	unsigned version;
	unsigned long long total, reserved, free, used;
} memory_v2;

typedef struct {
	unsigned long long total, free, used;
} memory_v1;

typedef struct {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
} process_v2;

typedef struct {
	unsigned pid;
	unsigned long long used;
} process_v1;

struct machine_nvml {
	void *lib;
	int (*init)(void);
	int (*shutdown)(void);
	const char *(*words)(int);
	int (*count)(unsigned *);
	int (*handle)(unsigned, device *);
	int (*name)(device, char *, unsigned);
	int (*uuid)(device, char *, unsigned);
	int (*memory2)(device, memory_v2 *);
	int (*memory1)(device, memory_v1 *);
	int (*processes2)(device, unsigned *, process_v2 *); // v3 has the same structure
	int (*processes1)(device, unsigned *, process_v1 *);
};

machine_nvml *machine_nvml_open(const char *path, char *error, size_t size) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		snprintf(error, size, "%s", dlerror());
		return 0;
	}
	machine_nvml *n = calloc(1, sizeof *n);
	if (!n)
		abort();
	n->lib = lib;
	n->init = dlsym(lib, "nvmlInit_v2");
	n->shutdown = dlsym(lib, "nvmlShutdown");
	n->words = dlsym(lib, "nvmlErrorString");
	n->count = dlsym(lib, "nvmlDeviceGetCount_v2");
	n->handle = dlsym(lib, "nvmlDeviceGetHandleByIndex_v2");
	n->name = dlsym(lib, "nvmlDeviceGetName");
	n->uuid = dlsym(lib, "nvmlDeviceGetUUID");
	n->memory2 = dlsym(lib, "nvmlDeviceGetMemoryInfo_v2");
	n->memory1 = dlsym(lib, "nvmlDeviceGetMemoryInfo");
	n->processes2 = dlsym(lib, "nvmlDeviceGetComputeRunningProcesses_v3");
	if (!n->processes2)
		n->processes2 = dlsym(lib, "nvmlDeviceGetComputeRunningProcesses_v2");
	n->processes1 = dlsym(lib, "nvmlDeviceGetComputeRunningProcesses");
	if (n->init && n->shutdown && n->words && n->count && n->handle && n->name && n->uuid && (n->memory1 || n->memory2))
		return n;
	snprintf(error, size, "%s: functions are missing in it", path);
	machine_nvml_free(n);
	return 0;
}

void machine_nvml_free(machine_nvml *n) {
	dlclose(n->lib);
	free(n);
}

int machine_nvml_init(machine_nvml *n) { return n->init(); }

int machine_nvml_shutdown(machine_nvml *n) { return n->shutdown(); }

const char *machine_nvml_words(machine_nvml *n, int code) { return n->words(code); }

int machine_nvml_count(machine_nvml *n, unsigned *count) { return n->count(count); }

int machine_nvml_name(machine_nvml *n, unsigned index, char *name, char *uuid, unsigned size) {
	device d;
	int err = n->handle(index, &d);
	if (!err)
		err = n->name(d, name, size);
	return err ? err : n->uuid(d, uuid, size);
}

int machine_nvml_memory(machine_nvml *n, unsigned index, machine_memory *m) {
	device d;
	int err = n->handle(index, &d);
	if (err)
		return err;
	if (n->memory2) {
		memory_v2 v = {.version = sizeof v | 2u << 24};
		err = n->memory2(d, &v);
		*m = (machine_memory){v.total, v.free, v.used};
		if ((err != MACHINE_NOT_SUPPORTED && err != MACHINE_NO_FUNCTION) || !n->memory1)
			return err;
	}
	memory_v1 v = {0};
	err = n->memory1(d, &v);
	*m = (machine_memory){v.total, v.free, v.used};
	return err;
}

int machine_nvml_processes(machine_nvml *n, unsigned index, machine_process *list, unsigned *count) {
	device d;
	unsigned most = *count;
	int err = n->handle(index, &d);
	if (err)
		return err;
	if (n->processes2) {
		process_v2 *p = calloc(most, sizeof *p);
		if (!p)
			abort();
		err = n->processes2(d, count, p);
		for (unsigned i = 0; !err && i < *count && i < most; i++)
			list[i] = (machine_process){p[i].pid, p[i].used};
		free(p);
		return err;
	}
	if (!n->processes1)
		return MACHINE_NO_FUNCTION;
	process_v1 *p = calloc(most, sizeof *p);
	if (!p)
		abort();
	err = n->processes1(d, count, p);
	for (unsigned i = 0; !err && i < *count && i < most; i++)
		list[i] = (machine_process){p[i].pid, p[i].used};
	free(p);
	return err;
}
