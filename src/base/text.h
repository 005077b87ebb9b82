/* text.h: small things about text. b2_text is a view of bytes meant as text, not NUL-terminated, owned by somebody
 * else. */
#ifndef B2_TEXT_H
#define B2_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct b2_text {
    const char *data;
    size_t len;
} b2_text;

static inline bool b2_ends_with(const char *text, const char *ending) {
    const size_t len = strlen(text), ending_len = strlen(ending);
    return len >= ending_len && strcmp(text + len - ending_len, ending) == 0;
}

/* Decimal digits and nothing else -> a number of 64 bits; false: something else, or too large. */
static inline bool b2_read_u64(const char *text, uint64_t *number) {
    *number = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        const uint64_t digit = (uint64_t)(*text - '0');
        if (digit > 9 || *number > (UINT64_MAX - digit) / 10) return false;
        *number = *number * 10 + digit;
    }
    return true;
}

#endif
