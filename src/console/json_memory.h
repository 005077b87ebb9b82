/* json_memory.h: jansson without memory gives half results as if they were whole: a string without one of its bytes, an
 * object without a member; or it fails an assertion. So there is none: memory, or the end of the program. */
#ifndef B2_JSON_MEMORY_H
#define B2_JSON_MEMORY_H

/* From here on jansson that is refused memory ends the program at once, with a sentence and exit code 5: the file being
 * written is removed, outputs stay as they were, a journal ends with its last whole record. */
void b2_json_memory_install(void);

#endif
