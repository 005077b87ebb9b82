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

/* Records status and sentence in *err (err may be NULL) and returns status. Too long a sentence is cut at a UTF-8
 * boundary; control characters (a path may hold any byte) become '?', so that a message stays one line. */
blip2_status b2_fail(blip2_error *err, blip2_status status, const char *format, ...) B2_PRINTF(3, 4);

/* Puts "prefix: " in front of a sentence already recorded: adds the "where" that only the caller knows. */
void b2_error_prefix(blip2_error *err, const char *format, ...) B2_PRINTF(2, 3);

/* Forwards a failure: B2_TRY(step(..., err)); */
#define B2_TRY(expression)                                                                                             \
    do {                                                                                                               \
        const blip2_status b2_try_status = (expression);                                                               \
        if (b2_try_status != BLIP2_OK) return b2_try_status;                                                           \
    } while (0)

#endif
