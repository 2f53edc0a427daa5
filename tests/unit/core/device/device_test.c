/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/alloc.h"
#include "core/device/device_impl.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static struct ls_device *open_with(int threads, const char *isa)
{
    struct ls_device_options options = {.threads = threads, .isa = isa};
    struct ls_device *device = NULL;

    cr_assert_eq(ls_device_open("cpu", &options, &device, NULL), LS_OK);
    return device;
}

/* Devices open by name and say who they are; the reference runs every op. */
Test(device, open)
{
    struct ls_device *device = NULL;

    cr_assert_eq(ls_device_open("ref", NULL, &device, NULL), LS_OK);
    cr_assert_str_eq(ls_device_name(device), "ref");
    cr_assert_eq(ls_device_threads(device), 1);
    for (int op = 0; op < LS_OP_COUNT; op++)
        cr_assert(ls_device_supports(device, (enum ls_op)op), "op %d", op);
    ls_device_close(device);
    device = open_with(3, "ref");
    cr_assert_str_eq(ls_device_name(device), "cpu/ref");
    cr_assert_eq(ls_device_threads(device), 3);
    ls_device_close(device);
    ls_device_close(NULL);
}

/* LOCKSTEP_ISA chooses the instruction set unless the caller did. */
Test(device, isa_from_environment)
{
    struct ls_device *device;

    setenv("LOCKSTEP_ISA", "ref", 1);
    device = open_with(1, NULL);
    cr_assert_str_eq(ls_device_name(device), "cpu/ref");
    ls_device_close(device);
    setenv("LOCKSTEP_ISA", "nonsense", 1);
    device = open_with(1, "ref");
    ls_device_close(device);
}

/* What cannot be opened is refused by name, and nothing is written. */
Test(device, refused)
{
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_device *device = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_device_open("gpu", NULL, &device, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "\"gpu\""));
    options.threads = 0;
    cr_assert_eq(ls_device_open("cpu", &options, &device, &err), LS_EINVAL);
    options.threads = 1;
    options.isa = "sse9";
    cr_assert_eq(ls_device_open("cpu", &options, &device, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "\"sse9\""));
    cr_assert_null(device);
}

/* Every allocation of opening can fail without a leak or a half-open device. */
Test(device, memory_short)
{
    struct ls_device_options options = {.threads = 2, .isa = "ref"};
    struct ls_device *device = NULL;
    struct ls_error err = LS_ERROR_INIT;
    uint64_t nth;

    for (nth = 1;; nth++) {
        enum ls_status status;

        ls_alloc_fail_after(nth);
        status = ls_device_open("cpu", &options, &device, &err);
        ls_alloc_fail_after(0);
        if (status == LS_OK)
            break;
        cr_assert_eq(status, LS_ENOMEM);
        cr_assert_null(device);
    }
    cr_assert_geq(nth, 3);
    ls_device_close(device);
}

struct cover {
    _Atomic int seen[1000];
    _Atomic int parts;
    int64_t grain, count;
};

static void mark(void *state, int64_t begin, int64_t end, int thread)
{
    struct cover *cover = state;

    cr_assert(begin < end && begin % cover->grain == 0 && (end % cover->grain == 0 || end == cover->count));
    cr_assert_lt(thread, 4);
    atomic_fetch_add(&cover->parts, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&cover->seen[i], 1);
}

/* Every index is visited once, in at most as many runs as there are threads, for any count and grain. */
Test(device, parallel_covers)
{
    static struct cover cover;

    for (int threads = 1; threads <= 4; threads++) {
        struct ls_device *device = open_with(threads, "ref");

        for (int64_t count = 0; count <= 1000; count += count < 20 ? 1 : 97) {
            for (int64_t grain = 1; grain <= 64; grain *= 4) {
                memset(&cover, 0, sizeof cover);
                cover.grain = grain;
                cover.count = count;
                lsi_device_parallel(device, count, grain, mark, &cover);
                cr_assert_leq(cover.parts, threads);
                for (int64_t i = 0; i < 1000; i++)
                    cr_assert_eq(cover.seen[i], i < count);
            }
        }
        ls_device_close(device);
    }
}

struct nested {
    struct ls_device *device;
    _Atomic int64_t sum;
};

static void add_range(void *state, int64_t begin, int64_t end, int thread)
{
    struct nested *nested = state;

    (void)thread;
    atomic_fetch_add(&nested->sum, end - begin);
}

static void nest(void *state, int64_t begin, int64_t end, int thread)
{
    struct nested *nested = state;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        lsi_device_parallel(nested->device, 10, 1, add_range, state);
}

static void *use_device(void *state)
{
    for (int i = 0; i < 2000; i++)
        nest(state, 0, 1, 0);
    return NULL;
}

/* Work asked for from inside a part, or by two threads at once, is done all the same. */
Test(device, parallel_nested_and_shared)
{
    struct nested nested = {.device = open_with(3, "ref")};
    pthread_t other;

    lsi_device_parallel(nested.device, 7, 1, nest, &nested);
    cr_assert_eq(nested.sum, 70);
    nested.sum = 0;
    cr_assert_eq(pthread_create(&other, NULL, use_device, &nested), 0);
    use_device(&nested);
    pthread_join(other, NULL);
    cr_assert_eq(nested.sum, 2 * 2000 * 10);
    ls_device_close(nested.device);
}

#if defined(__x86_64__)
static void read_mode(void *state, int64_t begin, int64_t end, int thread)
{
    (void)begin;
    (void)end;
    ((unsigned *)state)[thread] = _mm_getcsr() & ~0x3fu;
}

/* Denormals are kept in every thread of a device, also where the thread that opens it flushes them. */
Test(device, float_mode)
{
    unsigned modes[4] = {0};
    struct ls_device *device;

    _mm_setcsr(0x9fc0); /* flush to zero, denormals are zero */
    device = open_with(4, "ref");
    lsi_device_parallel(device, 4, 1, read_mode, modes);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(modes[i], 0x1f80, "thread %d: %x", i, modes[i]);
    ls_device_close(device);
}
#endif
