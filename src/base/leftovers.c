#include "base/leftovers.h"

#include "base/path.h"
#include "base/retry.h"
#include "base/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* "BASE.partial-PID-N" -> PID; 0: not that. */
static long parse_name(const char *name, const char *base) {
    static const char WORD[] = ".partial-";
    const size_t len = strlen(base);
    if (strncmp(name, base, len) != 0 || strncmp(name + len, WORD, sizeof WORD - 1) != 0) return 0;
    const char *digits = name + len + sizeof WORD - 1;
    char *end;
    const long pid = strtol(digits, &end, 10);
    if (end == digits || *end != '-' || end[1 + strspn(end + 1, "0123456789")] != '\0') return 0;
    return pid > 0 ? pid : 0;
}

/* One that was killed and that nobody has waited for keeps its number ("Z" after its name in /proc). */
static bool is_zombie(long pid) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    text[b2_file_start(path, text, sizeof text - 1)] = '\0';
    const char *state = strrchr(text, ')');
    return state != NULL && strncmp(state, ") Z", 3) == 0;
}

/* In a container each run may have the same number: our own says nothing, since ours does not write yet. */
static bool is_alive(long pid) {
    if (pid == (long)getpid() || is_zombie(pid)) return false;
    return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

/* False: somebody writes it. */
static bool examine(const char *path, long pid, uint64_t *n_bytes, bool *is_removed) {
    struct stat st;
    const int fd = b2_open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) return false;
    const bool is_free = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0;
    *n_bytes = is_free ? (uint64_t)st.st_size : 0;
    *is_removed = is_free && !is_alive(pid) && unlink(path) == 0;
    close(fd);
    return is_free;
}

void b2_leftovers_sweep(const char *path,
                        void (*found)(void *context, const char *name, uint64_t n_bytes, bool is_removed),
                        void *context) {
    b2_target target;
    const bool is_found = b2_target_find(path, &target, NULL) == BLIP2_OK && target.kind == B2_TARGET_FILE;
    char *folder = is_found ? b2_path_folder(target.path) : NULL;
    DIR *dir = folder == NULL ? NULL : opendir(folder);
    for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        const long pid = parse_name(entry->d_name, b2_path_base(target.path));
        char *name = pid == 0 ? NULL : b2_path_join(folder, entry->d_name);
        uint64_t n_bytes;
        bool is_removed;
        if (name != NULL && examine(name, pid, &n_bytes, &is_removed) && found != NULL)
            found(context, name, n_bytes, is_removed);
        free(name);
    }
    if (dir != NULL) closedir(dir);
    free(folder);
    b2_target_free(&target);
}
