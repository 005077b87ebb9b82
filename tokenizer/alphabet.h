/* alphabet.h: GPT-2's printable byte alphabet: 256 characters, one for each byte, none of them white space or control.
 *
 * Bytes that are printable in Latin-1 stand for themselves; the other 68 are U+0100, U+0101, ... in increasing order.
 * So a vocabulary of byte strings can be written, listed and split at spaces as text. */
#ifndef B2_ALPHABET_H
#define B2_ALPHABET_H

#include <stddef.h>
#include <stdint.h>

/* Writes the character of a byte as UTF-8; returns its length, 1 or 2. */
size_t b2_alphabet_encode(uint8_t byte, char character[2]);

/* Reads one character of text[len]: its length, and its byte in *byte. 0 when it is none of the 256, or len is 0. */
size_t b2_alphabet_decode(const char *text, size_t len, uint8_t *byte);

#endif
