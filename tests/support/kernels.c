/* SPDX-License-Identifier: Apache-2.0 */
/* The comparison of devices, kept open for the whole test program. */
#include "tests/support/kernels.h"

#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t random_state = 1;

uint64_t lst_random(uint64_t below)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random_state;

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

int64_t lst_between(int64_t low, int64_t high)
{
    return low + (int64_t)lst_random((uint64_t)(high - low + 1));
}

static double random_real(enum lst_values values)
{
    static const double zeros[] = {0.0, -0.0, 0x1p-149, -0x1p-149, 0x1.8p-130, -0x1p-126, 0x1p-126, 1.0};
    static const double wild[] = {
        (double)INFINITY, -(double)INFINITY, (double)NAN, 0x1.fffffep127, -0x1.fffffep127, 88.8, -87.5,
        -103.9,           0x1p-64,           -0x1p100};
    uint64_t dice = lst_random(24);

    if (values != LST_TAME && dice < 4)
        return zeros[lst_random(8)];
    if (values == LST_WILD && dice < 8)
        return wild[lst_random(10)];
    return (double)((float)lst_between(-(1 << 23), 1 << 23) * 0x1p-21f);
}

struct ls_view lst_view_empty(enum ls_dtype dtype, struct ls_shape shape)
{
    struct ls_view view = {dtype, shape, NULL};
    size_t size = ls_dtype_size(dtype);
    char *memory = ls_alloc_aligned(ls_view_bytes(&view) + 64 + size);

    cr_assert_not_null(memory);
    view.data = memory + size; /* aligned for one element, for no vector */
    memset(view.data, 0xa5, ls_view_bytes(&view));
    return view;
}

struct ls_view lst_view(enum ls_dtype dtype, struct ls_shape shape, enum lst_values values)
{
    struct ls_view view = lst_view_empty(dtype, shape);

    for (int64_t i = 0; i < ls_shape_count(&shape); i++) {
        if (dtype == LS_F32)
            ((float *)view.data)[i] = (float)random_real(values);
        else if (dtype == LS_F64)
            ((double *)view.data)[i] = random_real(values);
        else if (dtype == LS_BF16)
            ((uint16_t *)view.data)[i] = (uint16_t)lst_random(1 << 16);
        else if (dtype == LS_I32)
            ((int32_t *)view.data)[i] = (int32_t)(values == LST_WILD ? lst_random(UINT64_C(1) << 32) : lst_random(100));
        else if (dtype == LS_I64)
            ((int64_t *)view.data)[i] =
                (int64_t)(values == LST_WILD ? lst_random(UINT64_MAX) << lst_random(2) : lst_random(100));
        else
            ((uint8_t *)view.data)[i] = (uint8_t)lst_random(dtype == LS_BOOL ? 2 : 256);
    }
    return view;
}

void lst_view_free(struct ls_view *view)
{
    if (view->data)
        ls_free((char *)view->data - ls_dtype_size(view->dtype));
    view->data = NULL;
}

static bool is_nan(const struct ls_view *view, int64_t i)
{
    if (view->dtype == LS_F32)
        return isnan(((float *)view->data)[i]);
    return view->dtype == LS_F64 && isnan(((double *)view->data)[i]);
}

/* First element whose bits differ; the number of elements where all are the same. */
static int64_t first_difference(const struct ls_view *a, const struct ls_view *b)
{
    int64_t count = ls_shape_count(&a->shape), i = 0;
    size_t size = ls_dtype_size(a->dtype);

    if (memcmp(a->data, b->data, ls_view_bytes(a)) == 0)
        return count;
    while (i < count && (memcmp((char *)a->data + (size_t)i * size, (char *)b->data + (size_t)i * size, size) == 0 ||
                         (is_nan(a, i) && is_nan(b, i))))
        i++;
    return i;
}

bool lst_view_same(const struct ls_view *a, const struct ls_view *b)
{
    return first_difference(a, b) == ls_shape_count(&a->shape);
}

static struct ls_device *devices[5];
static char device_names[5][32];
static int device_count;

static void open_devices(void)
{
    static const char *const isas[] = {"avx2", "avx512"};

    if (device_count)
        return;
    cr_assert_eq(ls_device_open("ref", NULL, &devices[0], NULL), LS_OK);
    device_count = 1;
    for (int k = 0; k < 4; k++) {
        struct ls_device_options options = {.threads = k % 2 == 0 ? 1 : 3 - k / 2, .isa = isas[k / 2]};

        if (ls_device_open("cpu", &options, &devices[device_count], NULL) == LS_OK)
            snprintf(device_names[device_count++], 32, "%s with %d threads", isas[k / 2], options.threads);
    }
}

struct ls_device *lst_ref(void)
{
    open_devices();
    return devices[0];
}

void lst_each_device(void (*fn)(struct ls_device *device, const char *name, void *state), void *state)
{
    open_devices();
    for (int i = 1; i < device_count; i++)
        fn(devices[i], device_names[i], state);
}

/* Scratch bytes by the shapes alone, as a program asks before there is memory. */
static size_t workspace_without_data(struct ls_device *device, const struct ls_op_call *call)
{
    struct ls_view in[64], out = *call->out;
    struct ls_op_call asked = *call;

    cr_assert_leq(call->in_count, 64);
    for (int i = 0; i < call->in_count; i++) {
        in[i] = call->in[i];
        in[i].data = NULL;
    }
    out.data = NULL;
    asked.in = in;
    asked.out = &out;
    return ls_device_workspace(device, &asked);
}

static enum ls_status run_on(struct ls_device *device, struct ls_op_call *call, struct ls_error *err)
{
    size_t bytes = ls_device_workspace(device, call);
    enum ls_status status;

    cr_assert_eq(bytes, workspace_without_data(device, call), "the workspace depends on more than shapes");
    call->workspace = ls_alloc_aligned(bytes + 64);
    cr_assert_not_null(call->workspace);
    memset(call->workspace, 0x5a, bytes);
    status = ls_device_run(device, call, err);
    ls_free(call->workspace);
    call->workspace = NULL;
    return status;
}

enum ls_status lst_compare(struct ls_op_call *call, const char *what)
{
    struct ls_error err = LS_ERROR_INIT, other = LS_ERROR_INIT;
    const struct ls_view *expected = call->out;
    struct ls_view out;
    enum ls_status status;

    open_devices();
    status = run_on(devices[0], call, &err);
    for (int i = 1; i < device_count; i++) {
        enum ls_status got;

        out = lst_view_empty(expected->dtype, expected->shape);
        call->out = &out;
        got = run_on(devices[i], call, &other);
        cr_assert_eq(got, status, "%s on %s: status %d, reference %d (%s)", what, device_names[i], got, status,
                     err.message);
        cr_assert_str_eq(other.message, err.message);
        if (status == LS_OK)
            cr_assert(lst_view_same(&out, expected), "%s on %s differs from the reference at element %lld", what,
                      device_names[i], (long long)first_difference(&out, expected));
        lst_view_free(&out);
    }
    call->out = expected;
    return status;
}

void lst_run_ref(struct ls_op_call *call)
{
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(run_on(lst_ref(), call, &err), LS_OK, "%s", err.message);
}
