/* SPDX-License-Identifier: Apache-2.0 */
/* What a job's fingerprint knows of a data file: its length and the digest of its first and last MiB. */
#include "core/data/dataset.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/hash.h"

#define EDGE ((uint64_t)1 << 20)

enum ls_status ls_dataset_file_digest(const char *path, int64_t *byte_length, char sha256[65], struct ls_error *err)
{
    struct ls_file *file = NULL;
    uint8_t *bytes = NULL;
    uint8_t digest[LS_SHA256_BYTES];
    uint64_t length;
    size_t edge;
    enum ls_status status = ls_file_open(path, &file, err);

    if (status != LS_OK)
        return status;
    length = ls_file_length(file);
    edge = (size_t)(length < EDGE ? length : EDGE);
    bytes = ls_alloc(2 * edge);
    if (bytes == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", path);
    /* In a file below 2 MiB the two edges overlap; they are hashed one behind the other all the same. */
    if (status == LS_OK)
        status = ls_file_read(file, 0, bytes, edge, err);
    if (status == LS_OK)
        status = ls_file_read(file, length - edge, bytes + edge, edge, err);
    if (status == LS_OK) {
        ls_sha256_of(bytes, 2 * edge, digest);
        ls_hex(digest, sizeof digest, sha256);
        *byte_length = (int64_t)length;
    }
    ls_free(bytes);
    ls_file_close(file);
    return status;
}
