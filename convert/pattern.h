/* pattern.h: the regular expressions of rank_pattern and alpha_pattern, as far as they are used there: characters, ".", "\.",
 * "\d", sets, each perhaps with *, + or ?; ^, $; groups with |, not repeated. regcomp() is of no use for keys that come from
 * outside: the C library's takes gigabytes for "a++++++++", and frees twice without memory. */
#ifndef B2_PATTERN_H
#define B2_PATTERN_H

#include <stdbool.h>

enum { B2_PATTERN_MAX_BYTES = 256 };

/* Is it one of those, and not longer? */
bool b2_pattern_is_known(const char *pattern);

/* As Python's re.match("(.*\.)?(PATTERN)$", name): the whole name, or what follows one of its dots. pattern must be known.
 * Takes no memory, and time in proportion to the product of the lengths for each dot. */
bool b2_pattern_matches(const char *pattern, const char *name);

#endif
