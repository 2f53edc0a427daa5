/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of str.h. Numbers are parsed with the C locale whatever the process's locale is. */
#include "core/base/str.h"

#include "core/base/alloc.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

char *ls_str_copy(const char *string)
{
    size_t size = strlen(string) + 1;
    char *copy = ls_alloc(size);

    if (copy != NULL)
        memcpy(copy, string, size);
    return copy;
}

char *ls_str_format(const char *format, ...)
{
    va_list args;
    int length;
    char *string;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return NULL;
    string = ls_alloc((size_t)length + 1);
    if (string == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(string, (size_t)length + 1, format, args);
    va_end(args);
    return string;
}

bool ls_str_into(char *array, size_t size, const char *string)
{
    int length = snprintf(array, size, "%s", string);

    return length >= 0 && (size_t)length < size;
}

void ls_str_calm(char *string)
{
    for (char *c = string; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

bool ls_str_to_i64(const char *string, int64_t *value)
{
    char *end;
    long long number;

    if (string[0] == '\0' || strchr(" \t\n", string[0]) != NULL)
        return false;
    errno = 0;
    number = strtoll(string, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *value = number;
    return true;
}

bool ls_str_to_f64(const char *string, double *value)
{
    char *end;
    double number;

    if (string[0] == '\0' || strchr(" \t\n", string[0]) != NULL)
        return false;
    (void)pthread_once(&c_locale_once, make_c_locale);
    errno = 0;
    number = strtod_l(string, &end, c_locale);
    if (*end != '\0' || (errno == ERANGE && (number > 1 || number < -1)))
        return false;
    *value = number;
    return true;
}

int ls_str_distance(const char *a, const char *b)
{
    enum { LIMIT = 64 };
    int rows[3][LIMIT + 1];
    int m = (int)strnlen(a, LIMIT), n = (int)strnlen(b, LIMIT);

    for (int j = 0; j <= n; j++)
        rows[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < best)
                best = two_above[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[m % 3][n];
}

const char *ls_str_nearest(const char *wrong, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    int best = (int)strlen(wrong) / 3 + 2;

    for (size_t i = 0; i < count; i++) {
        int distance = ls_str_distance(wrong, names[i]);

        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

char *ls_path_directory(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return ls_str_copy(".");
    if (slash == path)
        return ls_str_copy("/");
    return ls_str_format("%.*s", (int)(slash - path), path);
}

char *ls_path_join(const char *directory, const char *path)
{
    if (path[0] == '/' || strcmp(directory, ".") == 0)
        return ls_str_copy(path);
    return ls_str_format("%s/%s", directory, path);
}
