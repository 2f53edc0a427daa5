/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/alloc.h"
#include "core/tensor/tensor.h"

#include <criterion/criterion.h>
#include <string.h>

/* Every dtype has a size and a name that leads back to it; other numbers and names have none. */
Test(tensor, dtypes)
{
    static const struct {
        enum ls_dtype dtype;
        const char *name;
        size_t size;
    } known[] = {{LS_F32, "float32", 4}, {LS_F64, "float64", 8}, {LS_BF16, "bfloat16", 2}, {LS_I32, "int32", 4},
                 {LS_I64, "int64", 8},   {LS_U8, "uint8", 1},    {LS_BOOL, "bool", 1}};
    enum ls_dtype found;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        cr_assert_eq(ls_dtype_size(known[i].dtype), known[i].size);
        cr_assert_str_eq(ls_dtype_name(known[i].dtype), known[i].name);
        cr_assert(ls_dtype_from_name(known[i].name, &found));
        cr_assert_eq(found, known[i].dtype);
    }
    found = LS_U8;
    cr_assert_not(ls_dtype_from_name("float", &found));
    cr_assert_eq(found, LS_U8);
    cr_assert_eq(ls_dtype_size((enum ls_dtype)0), 0);
    cr_assert_str_eq(ls_dtype_name((enum ls_dtype)99), "?");
}

/* Shapes count, compare and print; a scalar has one element. */
Test(tensor, shapes)
{
    struct ls_shape a = LS_SHAPE(256, 28, 28, 1), b = LS_SHAPE(256, 28, 28), scalar = LS_SHAPE_SCALAR;
    char text[128];

    cr_assert_eq(ls_shape_count(&a), 256 * 28 * 28);
    cr_assert_eq(ls_shape_count(&scalar), 1);
    cr_assert(ls_shape_equal(&a, &a));
    cr_assert_not(ls_shape_equal(&a, &b));
    b.dim[2] = 27;
    cr_assert_not(ls_shape_equal(&b, &LS_SHAPE(256, 28, 28)));
    cr_assert_str_eq(ls_shape_text(&a, text), "(256, 28, 28, 1)");
    cr_assert_str_eq(ls_shape_text(&scalar, text), "()");
    ls_shape_text(&LS_SHAPE(INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN), text);
    cr_assert_lt(strlen(text), 128);
}

/* A shape from outside is refused before anyone multiplies its dimensions. */
Test(tensor, bad_shapes)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_shape high = {.rank = LS_MAX_RANK + 1};

    cr_assert_eq(ls_shape_check(&LS_SHAPE(1 << 20, 1 << 20, 1 << 20), LS_F32, &err), LS_OK);
    cr_assert_eq(ls_shape_check(&LS_SHAPE(1 << 20, 1 << 20, 1 << 21), LS_F32, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "(1048576, 1048576, 2097152)"));
    cr_assert_eq(ls_shape_check(&LS_SHAPE(INT64_MAX, INT64_MAX), LS_U8, &err), LS_EINVAL);
    cr_assert_eq(ls_shape_check(&LS_SHAPE(0, INT64_MAX, INT64_MAX), LS_F64, &err), LS_OK);
    cr_assert_eq(ls_shape_check(&LS_SHAPE(3, -1), LS_F32, &err), LS_EINVAL);
    cr_assert_eq(ls_shape_check(&high, LS_F32, &err), LS_EINVAL);
    cr_assert_eq(ls_shape_check(&LS_SHAPE(1), (enum ls_dtype)0, &err), LS_EINVAL);
}

/* A tensor begins zeroed and aligned, and lives until its last reference goes. */
Test(tensor, lifecycle)
{
    struct ls_tensor *tensor = NULL;

    cr_assert_eq(ls_tensor_create(LS_F32, &LS_SHAPE(3, 5), &tensor, NULL), LS_OK);
    cr_assert_eq(ls_view_bytes(&tensor->view), 60);
    cr_assert_eq((uintptr_t)tensor->view.data % LS_ALIGNMENT, 0);
    for (int i = 0; i < 15; i++)
        cr_assert_eq(((float *)tensor->view.data)[i], 0.0f);
    cr_assert_eq(ls_tensor_retain(tensor), tensor);
    ls_tensor_release(tensor);
    ((float *)tensor->view.data)[14] = 1.0f;
    ls_tensor_release(tensor);
    ls_tensor_release(NULL);
}

/* Each allocation that fails is reported, and nothing is written. */
Test(tensor, memory_short)
{
    struct ls_error err = LS_ERROR_INIT;

    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct ls_tensor *tensor = NULL;

        ls_alloc_fail_after(nth);
        cr_assert_eq(ls_tensor_create(LS_F32, &LS_SHAPE(3, 5), &tensor, &err), LS_ENOMEM);
        cr_assert_null(tensor);
    }
    ls_alloc_fail_after(0);
}
