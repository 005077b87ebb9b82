/* alphabet.c: bytes 33-126, 161-172 and 174-255 are themselves. What is left are two runs and one loner:
 *     0..32 -> U+0100..U+0120      127..160 -> U+0121..U+0142      173 -> U+0143 */
#include "tokenizer/alphabet.h"

size_t b2_alphabet_encode(uint8_t byte, char character[2]) {
    unsigned code_point = byte;
    if (byte <= 32) code_point = 0x100u + byte;
    else if (byte >= 127 && byte <= 160) code_point = 0x121u + (byte - 127u);
    else if (byte == 173) code_point = 0x143;
    if (code_point < 0x80) {
        character[0] = (char)code_point;
        return 1;
    }
    character[0] = (char)(0xC0u | code_point >> 6);
    character[1] = (char)(0x80u | (code_point & 0x3Fu));
    return 2;
}

size_t b2_alphabet_decode(const char *text, size_t len, uint8_t *byte) {
    if (len == 0) return 0;
    unsigned code_point = (uint8_t)text[0];
    size_t n = 1;
    if (code_point >= 0x80) {
        if (len < 2 || code_point < 0xC2 || code_point > 0xC5 || ((uint8_t)text[1] & 0xC0) != 0x80) return 0;
        code_point = (code_point & 0x1Fu) << 6 | ((uint8_t)text[1] & 0x3Fu);
        n = 2;
    }
    if (code_point >= 0x100 && code_point <= 0x120) code_point -= 0x100;
    else if (code_point >= 0x121 && code_point <= 0x142) code_point = code_point - 0x121 + 127;
    else if (code_point == 0x143) code_point = 173;
    else if (code_point <= 32 || (code_point >= 127 && code_point <= 160) || code_point == 173 || code_point > 0x143)
        return 0;
    *byte = (uint8_t)code_point;
    return n;
}
