/* library.h: libraries that few files need are loaded when the first such file comes: what they bring along (codecs,
 * tables, ICU) would cost each start 8 ms, and a program that is moved to a machine without them still does the rest.
 *
 *     #define CALLS(X) X(heif_context_alloc) X(heif_context_free)
 *     typedef struct heif_calls { CALLS(B2_CALL_FIELD) } heif_calls;
 *     static const char *const names[] = {CALLS(B2_CALL_NAME)};
 *     heif_calls lib;
 *     B2_TRY(b2_library_load("a.heic", B2_LIBRARY(B2_SO_HEIF), names, sizeof names / sizeof *names, &lib, err));
 *     lib.heif_context_alloc(); */
#ifndef B2_LIBRARY_H
#define B2_LIBRARY_H

#include "base/status.h"

#define B2_CALL_FIELD(function) __typeof__(function) *function;
#define B2_CALL_NAME(function) #function,

/* "libheif.so.1" of a macro that the build sets to libheif.so.1. */
#define B2_LIBRARY(file) B2_LIBRARY_TEXT(file)
#define B2_LIBRARY_TEXT(file) #file

/* Fills calls, a struct of n_names pointers to functions in the order of names. The library stays loaded until the
 * process ends: the next call is cheap (10 us), nothing has to be closed. Errors: UNSUPPORTED (not there, or
 * too old), MEMORY; the sentence begins with who, which needs the library, and names the file. */
blip2_status b2_library_load(const char *who, const char *file, const char *const *names, size_t n_names, void *calls,
                             blip2_error *err);

#endif
