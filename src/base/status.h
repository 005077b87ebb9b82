/* status.h: errors are values. The vocabulary is the public header's: the sentence that a parser five floors down
 * writes is the sentence that the user reads. */
#ifndef B2_STATUS_H
#define B2_STATUS_H

#include "blip2.h"

#if defined(__GNUC__)
#define B2_PRINTF(format_idx, first_idx) __attribute__((format(printf, format_idx, first_idx)))
#else
#define B2_PRINTF(format_idx, first_idx)
#endif

/* Whatever in text is not printable UTF-8 becomes '?': nothing is left that a terminal would obey, and one line stays
 * one. */
void b2_make_printable(char *text);

/* Length of the printable character at s, of which at most n_bytes may be read; 0: no UTF-8, or a control character
 * (C0, DEL, C1: they move a terminal's cursor). */
size_t b2_printable_length(const void *s, size_t n_bytes);

/* Records status and sentence in *err (err may be NULL) and returns status. Too long a sentence is cut at a UTF-8
 * boundary; control characters (a path may hold any byte) become '?', so that a message stays one line. */
blip2_status b2_fail(blip2_error *err, blip2_status status, const char *format, ...) B2_PRINTF(3, 4);

/* For a write that failed just now: "name: what: why", why by errno, for example "out.csv: cannot be written: ...".
 * BLIP2_MEMORY when there was none for it; BLIP2_NO_SPACE when the disk is full or broken or a limit is reached, so
 * that no other file on it would fare better; else BLIP2_IO. */
blip2_status b2_fail_write(blip2_error *err, const char *name, const char *what);

/* Puts "prefix: " in front of a sentence already recorded: adds the "where" that only the caller knows. */
void b2_error_prefix(blip2_error *err, const char *format, ...) B2_PRINTF(2, 3);

/* Forwards a failure: B2_TRY(step(..., err)); */
#define B2_TRY(expression)                                                                                             \
    do {                                                                                                               \
        const blip2_status b2_try_status = (expression);                                                               \
        if (b2_try_status != BLIP2_OK) return b2_try_status;                                                           \
    } while (0)

#endif
