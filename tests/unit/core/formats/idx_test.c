/* SPDX-License-Identifier: Apache-2.0 */
/* IDX: plain and gzip'ed files give the same array; what does not fit its header is named. */
#include "core/formats/idx.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/formats/inflate.h"

#include <criterion/criterion.h>
#include <string.h>

/* (4, 2, 3) u8, elements 0..23, compressed by Python's gzip. */
static const char packed[] =
    "1f8b08000000000002ff6360e0606660606001622620666660646266616563e7e0e4e2e6e1e5e3171014121611"
    "1513070026d3900d28000000";

static uint8_t plain[40] = {0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3};

static void fill_plain(void)
{
    for (int i = 0; i < 24; i++)
        plain[16 + i] = (uint8_t)i;
}

static size_t unpack_hex(const char *hex, uint8_t *bytes)
{
    size_t length = strlen(hex) / 2;

    cr_assert(ls_unhex(hex, bytes, length));
    return length;
}

static void expect_array(const void *bytes, size_t length)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_idx_array array;

    cr_assert_eq(ls_idx_decode(bytes, length, 1000, &array, &err), LS_OK, "%s", err.message);
    cr_assert(ls_shape_equal(&array.view.shape, &LS_SHAPE(4, 2, 3)));
    cr_assert_eq(array.view.dtype, LS_U8);
    cr_assert_eq((uintptr_t)array.view.data % LS_ALIGNMENT, 0);
    cr_assert_eq(memcmp(array.view.data, plain + 16, 24), 0);
    ls_free(array.memory);
}

/* Fails with a status, and a sentence that holds `part`. */
static void expect_error(const void *bytes, size_t length, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_idx_array array;

    cr_assert_eq(ls_idx_decode(bytes, length, 1000, &array, &err), status, "%s", err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s", err.message);
}

/* Plain and compressed bytes decode to the same aligned array. */
Test(idx, plain_and_compressed)
{
    uint8_t bytes[64];

    fill_plain();
    expect_array(plain, sizeof plain);
    expect_array(bytes, unpack_hex(packed, bytes));
}

/* Big-endian elements of every type arrive as our dtypes; narrow integers are widened. */
Test(idx, element_types)
{
    static const struct {
        uint8_t bytes[24];
        size_t length;
        enum ls_dtype dtype;
        double value;
    } cases[] = {
        {{0, 0, 0x09, 1, 0, 0, 0, 1, 0xfe}, 9, LS_I32, -2},
        {{0, 0, 0x0b, 1, 0, 0, 0, 1, 0xff, 0x00}, 10, LS_I32, -256},
        {{0, 0, 0x0c, 1, 0, 0, 0, 1, 0, 1, 0, 2}, 12, LS_I32, 65538},
        {{0, 0, 0x0d, 1, 0, 0, 0, 1, 0x3f, 0xc0, 0, 0}, 12, LS_F32, 1.5},
        {{0, 0, 0x0e, 1, 0, 0, 0, 1, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0}, 16, LS_F64, -1.5},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ls_idx_array array;
        double value;

        cr_assert_eq(ls_idx_decode(cases[i].bytes, cases[i].length, 1000, &array, NULL), LS_OK);
        cr_assert_eq(array.view.dtype, cases[i].dtype);
        value = array.view.dtype == LS_I32   ? *(int32_t *)array.view.data
                : array.view.dtype == LS_F32 ? (double)*(float *)array.view.data
                                             : *(double *)array.view.data;
        cr_assert_eq(value, cases[i].value);
        ls_free(array.memory);
    }
}

/* A file that is cut anywhere, or has a byte too many, is refused and called truncated or trailing. */
Test(idx, cut_and_grown_plain_files)
{
    uint8_t longer[41] = {0};

    fill_plain();
    for (size_t length = 0; length < sizeof plain; length++)
        expect_error(plain, length, LS_ECORRUPT, "truncated");
    memcpy(longer, plain, sizeof plain);
    expect_error(longer, sizeof longer, LS_ECORRUPT, "trailing");
}

/* A compressed file that is cut anywhere, grown, or changed in one byte never gives another array. */
Test(idx, damaged_compressed_files)
{
    uint8_t bytes[64];
    size_t length = unpack_hex(packed, bytes);
    struct ls_idx_array array;

    fill_plain();
    for (size_t cut = 0; cut < length; cut++)
        cr_assert_eq(ls_idx_decode(bytes, cut, 1000, &array, NULL), LS_ECORRUPT, "%zu bytes", cut);
    bytes[length] = 0;
    expect_error(bytes, length + 1, LS_ECORRUPT, "follow");
    for (size_t at = 10; at < length; at++) {
        bytes[at] ^= 0x10;
        /* The last bits of the last byte of compressed data mean nothing. */
        if (ls_idx_decode(bytes, length, 1000, &array, NULL) == LS_OK) {
            cr_assert(memcmp(array.view.data, plain + 16, 24) == 0, "byte %zu", at);
            ls_free(array.memory);
        }
        bytes[at] ^= 0x10;
    }
}

/* The header is believed only up to the caller's limit and what the compressed bytes can hold. */
Test(idx, absurd_sizes)
{
    uint8_t huge[40] = {0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t large[40] = {0, 0, 8, 1, 0x7f, 0xff, 0xff, 0xff};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_idx_array array;

    cr_assert_neq(ls_idx_decode(huge, sizeof huge, SIZE_MAX, &array, &err), LS_OK);
    cr_assert(strstr(err.message, "too large") != NULL && strstr(err.message, "float64") == NULL, "%s", err.message);
    expect_error(large, sizeof large, LS_EINVAL, "at most 1000");
}

/* Wrong magic, type and rank are named. */
Test(idx, wrong_headers)
{
    expect_error("\1\0\10\1\0\0\0\1x", 9, LS_ECORRUPT, "two zero bytes");
    expect_error("\0\0\7\1\0\0\0\1x", 9, LS_ECORRUPT, "type 0x07");
    expect_error("\0\0\10\7\0\0\0\1x", 9, LS_ECORRUPT, "7 dimensions");
    expect_error("\0\0\10\0\0\0\0\1x", 9, LS_ECORRUPT, "0 dimensions");
}

/* The prefix decoder gives the first bytes that the whole decoder gives, for stored, fixed and dynamic blocks. */
Test(inflate, prefix_equals_whole)
{
    static const char stored[] = "1f8b0800000000000000010500faff68656c6c6f86a6103605000000";
    uint8_t bytes[64], whole[64], prefix[64];
    size_t length = unpack_hex(stored, bytes), got;

    cr_assert_eq(ls_inflate_gzip(bytes, length, whole, 5, NULL), LS_OK);
    cr_assert_eq(memcmp(whole, "hello", 5), 0);
    cr_assert_eq(ls_inflate_gzip_prefix(bytes, length, prefix, sizeof prefix, &got, NULL), LS_OK);
    cr_assert_eq(got, 5);
    cr_assert_eq(memcmp(prefix, "hello", 5), 0);
    length = unpack_hex(packed, bytes);
    fill_plain();
    for (size_t wanted = 0; wanted <= 40; wanted++) {
        cr_assert_eq(ls_inflate_gzip_prefix(bytes, length, prefix, wanted, &got, NULL), LS_OK);
        cr_assert(got == wanted && memcmp(prefix, plain, wanted) == 0, "%zu bytes", wanted);
    }
}

/* The test images of MNIST: dynamic blocks, 7.8 MB; header, prefix and whole agree. */
Test(inflate, mnist)
{
    struct ls_buf file = {0};
    struct ls_idx_array array;
    uint8_t *prefix = ls_alloc(100000);
    size_t got;

    cr_assert_eq(ls_fs_read(LS_SOURCE_DIR "/examples/mnist/data/t10k-images-idx3-ubyte.gz", SIZE_MAX, &file, NULL),
                 LS_OK);
    cr_assert_eq(ls_idx_decode(file.data, file.length, SIZE_MAX, &array, NULL), LS_OK);
    cr_assert(ls_shape_equal(&array.view.shape, &LS_SHAPE(10000, 28, 28)));
    cr_assert_eq(ls_inflate_gzip_prefix(file.data, file.length, prefix, 100000, &got, NULL), LS_OK);
    cr_assert_eq(got, 100000);
    cr_assert_eq(memcmp(prefix + 16, array.view.data, 100000 - 16), 0);
    ls_free(prefix);
    ls_free(array.memory);
    ls_buf_deinit(&file);
}
