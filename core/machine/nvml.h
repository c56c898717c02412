#include <stddef.h>
#include <stdint.h>

// The part of NVIDIA's management library that is used here, opened at run time:
// nothing of it is needed to build or to link. All functions return its codes.

typedef struct machine_nvml machine_nvml;

typedef struct {
	uint64_t total, free, used;
} machine_memory;

typedef struct {
	unsigned pid;
	uint64_t used; // all ones: the library may not say
} machine_process;

enum {
	MACHINE_OK = 0,
	MACHINE_NOT_SUPPORTED = 3,
	MACHINE_TOO_SMALL = 7,
	MACHINE_NO_DRIVER = 9,
	MACHINE_NO_FUNCTION = 13,
};

// machine_nvml_open opens a library; 0: error says why not.
machine_nvml *machine_nvml_open(const char *path, char *error, size_t size);
void machine_nvml_free(machine_nvml *);
int machine_nvml_init(machine_nvml *);
int machine_nvml_shutdown(machine_nvml *);
const char *machine_nvml_words(machine_nvml *, int code);
int machine_nvml_count(machine_nvml *, unsigned *);
int machine_nvml_name(machine_nvml *, unsigned index, char *name, char *uuid, unsigned size);
int machine_nvml_memory(machine_nvml *, unsigned index, machine_memory *);
// machine_nvml_processes fills at most *n entries and sets *n to how many there are.
int machine_nvml_processes(machine_nvml *, unsigned index, machine_process *, unsigned *n);
