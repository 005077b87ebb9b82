/* blip2_text.h: what surrounds the token ids: the words that the model was trained to expect before an answer, and what
 * kind of answer came back. */
#ifndef B2_BLIP2_TEXT_H
#define B2_BLIP2_TEXT_H

#include "blip2.h"

/* Writes the text that the model reads for this request into text[capacity]: "Question: ... Answer:" around a question
 * (its trailing white space removed: "Answer: " would leave a token " " and the answer without its space), turns before it,
 * a prompt as it is, "" for a caption. Returns the length needed, like snprintf. */
size_t b2_text_wrap(const blip2_request *request, char *text, size_t capacity);

/* The first, the last character is white space; false for "". */
bool b2_text_begins_with_space(const char *text);
bool b2_text_ends_with_space(const char *text);

/* Removes white space (Unicode White_Space) at both ends, in place; returns the start within text. */
char *b2_text_strip(char *text);

/* The answer repeats the question: compared without case, punctuation and white space. */
bool b2_text_is_echo(const char *question, const char *answer);

#endif
