/* source.c: what every source hands out. */
#include "lists/source.h"

#include <stdlib.h>

void b2_item_free(b2_item *item) {
    free(item->name);
    free(item->path);
    free(item->bytes);
    free(item->sample);
    *item = (b2_item){0};
}
