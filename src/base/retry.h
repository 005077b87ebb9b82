/* retry.h: system calls that a signal interrupts (EINTR) are made again; stdio would give up and lose what it held. */
#ifndef B2_RETRY_H
#define B2_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* open() with O_CLOEXEC; mode is that of a file that is created. -1: errno tells why. */
int b2_open(const char *path, int flags, unsigned mode);

/* fsync(); true also where the file system has no such thing. False: errno tells why. */
bool b2_sync(int fd);

/* ftruncate(). False: errno tells why. */
bool b2_truncate(int fd, off_t n_bytes);

/* A stream over a descriptor, which it owns from now on: fclose() closes it. mode "rb" or "wb". gives_up(NULL) says
 * whether an interrupted call is to fail after all; NULL: never. fileno() does not know the stream. NULL: errno tells
 * why, and the descriptor is closed. */
FILE *b2_fdopen(int fd, const char *mode, bool (*gives_up)(void *unused));

/* The first bytes of a file, at most n; 0 also when it cannot be read. */
size_t b2_file_start(const char *path, void *bytes, size_t n);

#endif
