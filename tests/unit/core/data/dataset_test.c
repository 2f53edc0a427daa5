/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets: files agree with each other, samples are gathered exactly, errors name the file. */
#include "core/data/dataset.h"

#include "core/base/alloc.h"
#include "core/formats/npy.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define MNIST LS_SOURCE_DIR "/examples/mnist/data/"

static char *directory;

static void begin(void)
{
    directory = lst_scratch_create();
}

static void end(void)
{
    lst_scratch_remove(directory);
}

TestSuite(dataset, .init = begin, .fini = end);

static char *npy_file(const char *name, enum ls_dtype dtype, struct ls_shape shape, const void *data)
{
    struct ls_view view = {.dtype = dtype, .shape = shape, .data = (void *)(uintptr_t)data};
    struct ls_buf buf = {0};
    char *path;

    cr_assert_eq(ls_npy_append(&buf, &view, NULL), LS_OK);
    path = lst_scratch_file(directory, name, buf.data, buf.length);
    ls_buf_deinit(&buf);
    return path;
}

static enum ls_status open_npy(const char *features, const char *labels, bool shared, struct ls_dataset **set,
                               struct ls_error *err)
{
    struct ls_dataset_options options = {.format = "npy", .features = features, .labels = labels, .shared = shared};

    return ls_dataset_open(&options, set, err);
}

/* The test images of MNIST: counts, shapes, label range, and pixels as exact floats. */
Test(dataset, mnist)
{
    struct ls_dataset_options options = {
        .format = "idx", .features = MNIST "t10k-images-idx3-ubyte.gz", .labels = MNIST "t10k-labels-idx1-ubyte.gz"};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_dataset *set;
    int64_t low, high, index[2] = {9999, 0};
    float features[2 * 784];
    uint8_t stored[2 * 784];
    int32_t labels[2];

    cr_assert_eq(ls_dataset_open(&options, &set, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_dataset_count(set), 10000);
    cr_assert(ls_shape_equal(ls_dataset_feature_shape(set), &LS_SHAPE(28, 28)));
    cr_assert_eq(ls_dataset_feature_dtype(set), LS_U8);
    cr_assert_eq(ls_dataset_label_dtype(set), LS_I32);
    cr_assert_eq(ls_dataset_label_shape(set)->rank, 0);
    cr_assert_eq(ls_dataset_label_range(set, &low, &high, NULL), LS_OK);
    cr_assert(low == 0 && high == 9);
    ls_dataset_gather(set, index, 2, LS_F32, features, labels);
    ls_dataset_gather(set, index, 2, LS_U8, stored, NULL);
    cr_assert(labels[0] == 6 && labels[1] == 7, "the first test image is a seven, the last a six");
    for (int i = 0; i < 2 * 784; i++)
        cr_assert_eq(features[i], (float)stored[i]);
    ls_dataset_close(set);
}

/* Integer labels of any width become i32; floating ones stay; features of several dtypes become f32. */
Test(dataset, dtypes)
{
    double wide[4] = {1, -2.5, 1e300, 0.1};
    int64_t labels[2] = {-3, 2147483647};
    int64_t index[2] = {1, 0};
    float targets[2] = {0.5f, 1.5f};
    char *f64 = npy_file("f64.npy", LS_F64, LS_SHAPE(2, 2), wide);
    char *i64 = npy_file("i64.npy", LS_I64, LS_SHAPE(2, 1), labels);
    char *f32 = npy_file("f32.npy", LS_F32, LS_SHAPE(2), targets);
    struct ls_dataset *set;
    float features[4], got_targets[2];
    int32_t got[2];
    int64_t low, high;

    cr_assert_eq(open_npy(f64, i64, false, &set, NULL), LS_OK);
    ls_dataset_gather(set, index, 2, LS_F32, features, got);
    cr_assert(features[0] == HUGE_VALF && features[1] == 0.1f && features[2] == 1 && features[3] == -2.5f);
    cr_assert(got[0] == 2147483647 && got[1] == -3);
    cr_assert_eq(ls_dataset_label_range(set, &low, &high, NULL), LS_OK);
    cr_assert(low == -3 && high == 2147483647);
    cr_assert(ls_shape_equal(ls_dataset_label_shape(set), &LS_SHAPE(1)));
    ls_dataset_close(set);
    cr_assert_eq(open_npy(f64, f32, false, &set, NULL), LS_OK);
    cr_assert_eq(ls_dataset_label_dtype(set), LS_F32);
    cr_assert_eq(ls_dataset_label_range(set, &low, &high, NULL), LS_EINVAL);
    ls_dataset_gather(set, index, 2, LS_F32, features, got_targets);
    cr_assert(got_targets[0] == 1.5f && got_targets[1] == 0.5f);
    ls_dataset_close(set);
    ls_free(f64);
    ls_free(i64);
    ls_free(f32);
}

static void expect_error(const char *features, const char *labels, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_dataset *set;

    cr_assert_eq(open_npy(features, labels, false, &set, &err), status, "%s", err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s", err.message);
}

/* Counts that differ, labels out of range, no samples, no file, another format: one sentence with the file. */
Test(dataset, refusals)
{
    float data[6] = {0};
    int64_t labels[2] = {0, INT64_C(1) << 40};
    char *three = npy_file("three.npy", LS_F32, LS_SHAPE(3, 2), data);
    char *two = npy_file("two.npy", LS_F32, LS_SHAPE(2, 3), data);
    char *big = npy_file("big.npy", LS_I64, LS_SHAPE(2), labels);
    char *none = npy_file("none.npy", LS_F32, LS_SHAPE(0, 3), data);
    char *scalar = npy_file("scalar.npy", LS_F32, LS_SHAPE_SCALAR, data);
    struct ls_dataset_options idx = {.format = "idx", .features = three}, csv = {.format = "csv", .features = three};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_dataset *set;

    expect_error(three, two, LS_EINVAL, "has 3 samples and");
    expect_error(two, big, LS_EINVAL, "big.npy: label 1099511627776 of sample 1");
    expect_error(none, NULL, LS_EINVAL, "none.npy: it holds no samples");
    expect_error(scalar, NULL, LS_EINVAL, "scalar.npy: it holds a single number");
    expect_error("/no/such.npy", NULL, LS_ENOENT, "/no/such.npy");
    expect_error(directory, NULL, LS_EIO, "directory");
    cr_assert_eq(ls_dataset_open(&idx, &set, &err), LS_ECORRUPT);
    cr_assert(strstr(err.message, "three.npy: it is not an IDX file") != NULL, "%s", err.message);
    cr_assert_eq(ls_dataset_open(&csv, &set, &err), LS_EINVAL);
    cr_assert(strstr(err.message, "csv is not known") != NULL, "%s", err.message);
    ls_free(three);
    ls_free(two);
    ls_free(big);
    ls_free(none);
    ls_free(scalar);
}

/* The number of samples is known from the header alone, compressed or not. */
Test(dataset, file_count)
{
    float data[6] = {0};
    char *three = npy_file("three.npy", LS_F32, LS_SHAPE(3, 2), data);
    int64_t count;

    cr_assert_eq(ls_dataset_file_count(three, "npy", &count, NULL), LS_OK);
    cr_assert_eq(count, 3);
    cr_assert_eq(ls_dataset_file_count(MNIST "t10k-images-idx3-ubyte.gz", "idx", &count, NULL), LS_OK);
    cr_assert_eq(count, 10000);
    cr_assert_neq(ls_dataset_file_count(three, "idx", &count, NULL), LS_OK);
    ls_free(three);
}

/* Dimensions whose product is beyond 64 bits are refused as too large, not counted as what is left of them. */
Test(dataset, file_count_of_a_huge_shape)
{
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4294967296, 4294967296), }";
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf file = {0};
    int64_t count;
    char *path;

    (void)ls_buf_append(&file, "\x93NUMPY\x01\x00", 8);
    (void)ls_buf_append(&file, (uint8_t[]){sizeof head - 1, 0}, 2);
    (void)ls_buf_append(&file, head, sizeof head - 1);
    path = lst_scratch_file(directory, "huge.npy", file.data, file.length);
    cr_assert_eq(ls_dataset_file_count(path, "npy", &count, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "too large"), "%s", err.message);
    ls_buf_deinit(&file);
    ls_free(path);
}

/* The digest sees the first and the last byte of small and large files, and the length. */
Test(dataset, file_digest)
{
    static const size_t lengths[] = {0, 1, 1000, (1 << 20) + 5, 5 << 20};
    uint8_t *data = ls_alloc_zeroed(5 << 20, 1);

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *path = lst_scratch_file(directory, "f", data, lengths[i]);
        char before[65], after[65];
        int64_t bytes;

        cr_assert_eq(ls_dataset_file_digest(path, &bytes, before, NULL), LS_OK);
        cr_assert_eq(bytes, (int64_t)lengths[i]);
        for (int edge = 0; edge < 2 && lengths[i] > 0; edge++) {
            size_t at = edge == 0 ? 0 : lengths[i] - 1;

            data[at] ^= 1;
            ls_free(lst_scratch_file(directory, "f", data, lengths[i]));
            data[at] ^= 1;
            cr_assert_eq(ls_dataset_file_digest(path, &bytes, after, NULL), LS_OK);
            cr_assert_str_neq(before, after);
        }
        ls_free(path);
    }
    ls_free(data);
}

/* Each epoch is a permutation, another one per epoch and seed; without shuffling it is the identity. */
Test(dataset, epoch_order)
{
    static const int64_t counts[] = {1, 2, 3, 5, 64, 1000, 60000};

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct ls_epoch_order order = {.seed = 7, .shuffle = true, .count = counts[c]};
        int64_t *index = ls_alloc_zeroed((size_t)counts[c], sizeof *index), other;
        uint8_t *seen = ls_alloc_zeroed((size_t)counts[c], 1);
        int64_t moved = 0;

        ls_epoch_indices(&order, 3, 0, counts[c], index);
        for (int64_t i = 0; i < counts[c]; i++) {
            cr_assert(index[i] >= 0 && index[i] < counts[c] && !seen[index[i]]);
            seen[index[i]] = 1;
            other = ls_epoch_index(&order, 4, i);
            moved += other != index[i];
            if (i % 97 == 0)
                cr_assert_eq(ls_epoch_index(&order, 3, i), index[i]);
        }
        if (counts[c] >= 64)
            cr_assert_gt(moved, counts[c] / 2);
        order.shuffle = false;
        ls_epoch_indices(&order, 3, 0, counts[c], index);
        for (int64_t i = 0; i < counts[c]; i++)
            cr_assert_eq(index[i], i);
        ls_free(index);
        ls_free(seen);
    }
}

/* Arrays in memory make the same set as the file of them, and digests tell apart what differs. */
Test(dataset, from_memory)
{
    float x[6] = {1, 2, 3, 4, 5, 6}, row[2];
    int64_t y[3] = {2, 0, 1};
    struct ls_view features = {.dtype = LS_F32, .shape = LS_SHAPE(3, 2), .data = x};
    struct ls_view labels = {.dtype = LS_I64, .shape = LS_SHAPE(3), .data = y};
    char *x_path = npy_file("x.npy", LS_F32, LS_SHAPE(3, 2), x), *y_path = npy_file("y.npy", LS_I64, LS_SHAPE(3), y);
    struct ls_dataset *memory, *file;
    struct ls_error err = LS_ERROR_INIT;
    char a[65], b[65];
    int64_t index = 1;
    int32_t label;

    cr_assert_eq(ls_dataset_from_memory(&features, &labels, &memory, &err), LS_OK, "%s", err.message);
    cr_assert_eq(open_npy(x_path, y_path, false, &file, &err), LS_OK, "%s", err.message);
    ls_dataset_gather(memory, &index, 1, LS_F32, row, &label);
    cr_assert(row[0] == 3 && row[1] == 4 && label == 0);
    cr_assert_eq(ls_dataset_label_dtype(memory), LS_I32);
    cr_assert_eq(ls_dataset_digest(memory, a, &err), LS_OK);
    cr_assert_eq(ls_dataset_digest(file, b, &err), LS_OK);
    cr_assert_str_eq(a, b);
    x[5] = 7;
    cr_assert_eq(ls_dataset_digest(memory, b, &err), LS_OK);
    cr_assert_str_neq(a, b);
    ls_dataset_close(memory);
    ls_dataset_close(file);
    labels.shape = LS_SHAPE(2);
    cr_assert_eq(ls_dataset_from_memory(&features, &labels, &memory, &err), LS_EINVAL);
    features.shape = LS_SHAPE_SCALAR;
    cr_assert_eq(ls_dataset_from_memory(&features, NULL, &memory, &err), LS_EINVAL);
    ls_free(x_path);
    ls_free(y_path);
}
