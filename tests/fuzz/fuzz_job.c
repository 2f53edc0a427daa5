/* SPDX-License-Identifier: Apache-2.0 */
/* Job files in YAML and JSON with one override: the input is the text, a zero byte, then "key=value". */
#include "core/job/read.h"

#include "core/base/alloc.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void try_as(const char *path, const uint8_t *data, size_t size, const char *override)
{
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_job_source source = {(const char *)data, size, path, &override, override != NULL};
    struct ls_job *job = NULL;

    if (lsi_job_read(&source, &job, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return;
    }
    LST_FUZZ_CHECK(job->batch_size > 0 && job->workers > 0 && job->loss != NULL && job->optimizer.name != NULL &&
                   job->train.features != NULL && job->strategy != NULL && job->checkpoint_directory != NULL);
    ls_job_destroy(job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t length = zero != NULL ? (size_t)(zero - data) : size;
    char *override = NULL;

    if (zero != NULL) {
        size_t left = size - length - 1;

        override = ls_alloc(left + 1);
        memcpy(override, zero + 1, left);
        override[left] = '\0';
    }
    try_as("job.yaml", data, length, override);
    try_as("job.json", data, length, override);
    ls_free(override);
    return 0;
}
