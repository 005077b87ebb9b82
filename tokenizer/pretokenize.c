/* pretokenize.c: GPT-2's splitting expression, written out:
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
#include "tokenizer/pretokenize.h"

#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

typedef enum char_class { CLASS_SPACE, CLASS_LETTER, CLASS_NUMBER, CLASS_OTHER } char_class;

/* White_Space is the categories Z* and six controls: tab to carriage return, and U+0085. */
static char_class class_of(int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return CLASS_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CLASS_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return CLASS_SPACE;
    default: return (c >= 0x09 && c <= 0x0D) || c == 0x85 ? CLASS_SPACE : CLASS_OTHER;
    }
}

/* Length of the first character of text[len], len > 0, and its class. */
static size_t next_char(const char *text, size_t len, char_class *class) {
    int32_t c;
    const size_t n = b2_utf8_decode(text, len, &c);
    *class = c >= 0 ? class_of(c) : CLASS_OTHER;
    return n;
}

static size_t contraction_len(const char *text, size_t len) {
    static const char endings[][3] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (text[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t n = strlen(endings[i]);
        if (len > n && memcmp(text + 1, endings[i], n) == 0) return 1 + n;
    }
    return 0;
}

/* Length of the leading characters of one class; *last is where the last of them starts. */
static size_t run_len(const char *text, size_t len, char_class wanted, size_t *last) {
    size_t end = 0;
    *last = 0;
    while (end < len) {
        char_class class;
        const size_t n = next_char(text + end, len - end, &class);
        if (class != wanted) break;
        *last = end;
        end += n;
    }
    return end;
}

size_t b2_pretokenize_next(const char *text, size_t len) {
    const size_t contraction = contraction_len(text, len);
    if (contraction > 0) return contraction;

    const size_t space = text[0] == ' ' && len > 1 ? 1 : 0;
    char_class class;
    size_t last;
    next_char(text + space, len - space, &class);
    if (class != CLASS_SPACE) return space + run_len(text + space, len - space, class, &last);

    const size_t end = run_len(text, len, CLASS_SPACE, &last);
    return end == len || last == 0 ? end : last;
}
