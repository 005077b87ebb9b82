/* environment.c: variables of the environment, read in one place so that grep finds them all. */
#include "console/environment.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *b2_environment_text(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* ---- paths ----------------------------------------------------------------------------------------------------- */

/* a[n_a], b[n_b] and all of c. */
static char *join(const char *a, size_t n_a, const char *b, size_t n_b, const char *c) {
    const size_t capacity = n_a + n_b + strlen(c) + 1;
    char *text = malloc(capacity);
    if (text != NULL) snprintf(text, capacity, "%.*s%.*s%s", (int)n_a, a, (int)n_b, b, c);
    return text;
}

/* "~" is $HOME, else what the list of users says; "~user" only that. */
static char *expand_home(const char *path) {
    char user[64] = "";
    const size_t len = path[0] == '~' ? strcspn(path, "/") : 0;
    if (len == 0 || len > sizeof user) return strdup(path);
    memcpy(user, path + 1, len - 1);
    const char *home = len == 1 ? b2_environment_text("HOME") : NULL;
    const struct passwd *entry = home != NULL ? NULL : len == 1 ? getpwuid(getuid()) : getpwnam(user);
    if (entry != NULL) home = entry->pw_dir;
    return home == NULL ? strdup(path) : join(home, strlen(home), "", 0, path + len);
}

/* Where the name of the variable at text[0] == '$' lies; false: none stands there. *whole: of all, with braces. */
static bool find_name(const char *text, const char **name, size_t *n, size_t *whole) {
    const bool has_braces = text[1] == '{';
    *name = text + 1 + has_braces;
    *n = 0;
    if (has_braces) *n = strcspn(*name, "}");
    else
        while (isalnum((unsigned char)(*name)[*n]) || (*name)[*n] == '_') ++*n;
    *whole = 1 + *n + 2 * (size_t)has_braces;
    return *n > 0 && *n < 256 && (!has_braces || (*name)[*n] == '}');
}

char *b2_environment_expand(const char *path) {
    char *text = expand_home(path);
    for (size_t at = 0; text != NULL && text[at] != '\0';) {
        char variable[256];
        const char *name;
        size_t n = 0, whole = 0;
        if (text[at] != '$' || !find_name(text + at, &name, &n, &whole)) {
            at++;
            continue;
        }
        snprintf(variable, sizeof variable, "%.*s", (int)n, name);
        const char *value = getenv(variable);
        if (value == NULL) {
            at += whole;
            continue;
        }
        char *next = join(text, at, value, strlen(value), text + at + whole);
        at += strlen(value);
        free(text);
        text = next;
    }
    return text;
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

bool b2_environment_number(const char *name, size_t *number) {
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    *number = (size_t)value;
    return *end == '\0' && errno == 0 && value < 1000000000;
}

/* OMP_NUM_THREADS may be a list, one number a nesting level ("8,2"): the first one counts. */
static int threads_from(const char *name) {
    const char *value = getenv(name);
    const long n = value != NULL ? strtol(value, NULL, 10) : 0;
    return n >= 1 && n <= 4096 ? (int)n : 0;
}

int b2_environment_threads(int from_option) {
    if (from_option > 0) return from_option;
    const int from_openmp = threads_from("OMP_NUM_THREADS");
    return from_openmp > 0 ? from_openmp : threads_from("SLURM_CPUS_PER_TASK");
}
