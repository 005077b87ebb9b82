/* list_text.h: lists as UTF-8, whatever wrote them: PowerShell and Excel's "Unicode text" write UTF-16. */
#ifndef B2_LIST_TEXT_H
#define B2_LIST_TEXT_H

#include "base/status.h"

/* Does text begin with the mark of UTF-16 (FF FE or FE FF)? */
bool b2_utf16_has_mark(const char *text, size_t n_bytes);

/* UTF-16 with its mark becomes UTF-8 with its mark: *text[*n_bytes] from malloc, replaced by another with a NUL after
 * its last byte; anything else stays. Halves of surrogate pairs become U+FFFD. BLIP2_MEMORY: *text stays. */
blip2_status b2_list_to_utf8(char **text, size_t *n_bytes, const char *name, blip2_error *err);

/* Reads a list (path "-": stdin) as UTF-8. Errors: of b2_input_read(). */
blip2_status b2_list_read(const char *path, char **text, size_t *n_bytes, blip2_error *err);

/* The line, from 1, of a place in a text, as an editor counts: \n ends a line. */
size_t b2_list_line(const char *text, const char *place);

#endif
