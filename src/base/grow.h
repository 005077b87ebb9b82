/* grow.h: arrays from malloc that take one more element at their end. */
#ifndef B2_GROW_H
#define B2_GROW_H

#include <stdbool.h>
#include <stddef.h>

/* Makes room for one more element after the first n: array is the address of the pointer to the elements (NULL at
 * first), which may move. The capacity doubles. False without memory: the array stays as it is. */
bool b2_grow(void *array, size_t n, size_t *capacity, size_t item_bytes);

#endif
