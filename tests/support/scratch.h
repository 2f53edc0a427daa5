/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, and small files in it. Failures end the program: a test cannot go on without. */
#ifndef LOCKSTEP_TESTS_SUPPORT_SCRATCH_H
#define LOCKSTEP_TESTS_SUPPORT_SCRATCH_H

#include <stddef.h>

/* A new empty directory. Returned: lst_scratch_remove removes it with all in it and frees the name. */
char *lst_scratch_create(void);
void lst_scratch_remove(char *directory);
/* "<directory>/<name>", written with length bytes where data is not NULL. Returned: ls_free. */
char *lst_scratch_file(const char *directory, const char *name, const void *data, size_t length);

#endif
