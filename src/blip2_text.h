/* blip2_text.h: what surrounds the token ids: the words that the model was trained to expect before an answer, and what
 * kind of answer came back. */
#ifndef B2_BLIP2_TEXT_H
#define B2_BLIP2_TEXT_H

#include "blip2.h"

/* Writes the text that the model reads for this request into text[capacity]: "Question: ... Answer:" around a question
 * (its trailing white space removed: "Answer: " would leave a token " " behind and the answer without its space), a
 * prompt as it is, "" for a caption. Returns the length needed, like snprintf. */
size_t b2_text_wrap(const blip2_request *request, char *text, size_t capacity);

/* Removes white space (Unicode White_Space) at both ends, in place; returns the start within text. */
char *b2_text_strip(char *text);

/* The answer repeats the question: compared without case, punctuation and white space. */
bool b2_text_is_echo(const char *question, const char *answer);

#endif
