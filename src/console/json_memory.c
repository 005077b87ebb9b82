/* json_memory.c: see json_memory.h. */
#include "console/json_memory.h"

#include "console/exit_code.h"
#include "console/say.h"
#include "console/signals.h"

#include <jansson.h>
#include <stdlib.h>

static void *allocate(size_t n_bytes) {
    void *memory = malloc(n_bytes);
    if (memory != NULL || n_bytes == 0) return memory;
    b2_say("no memory for JSON text; what was finished before is kept");
    b2_leave_at_once(B2_EXIT_MEMORY);
}

void b2_json_memory_install(void) { json_set_alloc_funcs(allocate, free); }
