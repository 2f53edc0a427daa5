/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: copies, formatting, numbers parsed independently of the locale, and near names for a typo. */
#ifndef LOCKSTEP_CORE_BASE_STR_H
#define LOCKSTEP_CORE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies a string; NULL when memory is short. Returned memory is the caller's (ls_free). */
char *ls_str_copy(const char *string);
/* printf into new memory; NULL when memory is short. Returned memory is the caller's (ls_free). */
char *ls_str_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Copies into a fixed array, cut to size - 1 bytes and always terminated; false where it was cut. */
bool ls_str_into(char *array, size_t size, const char *string);
/* Text of somebody else for people: control characters, which could paint over a terminal or forge a log line, become
 * question marks. */
void ls_str_calm(char *string);
/* Whole string as a decimal integer / number; false where anything is left over or out of range. */
bool ls_str_to_i64(const char *string, int64_t *value);
bool ls_str_to_f64(const char *string, double *value);
/* Edit distance (insert, delete, replace, swap of neighbours), at most 64 characters are compared. */
int ls_str_distance(const char *a, const char *b);
/* The name of `count` names nearest to `wrong`, or NULL where none is near enough to suggest. */
const char *ls_str_nearest(const char *wrong, const char *const *names, size_t count);
/* Directory part of a path into new memory ("." where there is none); joined path (an absolute `path`
 * stays as it is). Returned memory is the caller's; NULL when memory is short. */
char *ls_path_directory(const char *path);
char *ls_path_join(const char *directory, const char *path);

#endif
