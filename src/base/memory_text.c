/* memory_text.c: see memory_text.h. */
#include "base/memory_text.h"

#include <errno.h>
#include <stdlib.h>

FILE *b2_memory_text_begin(b2_memory_text *m) {
    *m = (b2_memory_text){.file = NULL};
    m->file = open_memstream(&m->text, &m->len);
    errno = m->file != NULL ? 0 : ENOMEM;
    return m->file;
}

void b2_memory_text_note(b2_memory_text *m) { m->lacks_memory |= errno == ENOMEM || ferror(m->file); }

bool b2_memory_text_end(b2_memory_text *m) {
    b2_memory_text_note(m);
    const bool is_closed = fclose(m->file) == 0 && errno != ENOMEM;
    m->file = NULL;
    if (is_closed && !m->lacks_memory) return true;
    free(m->text);
    m->text = NULL;
    errno = ENOMEM; /* for those who tell why by it */
    return false;
}
