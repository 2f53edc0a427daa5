/* SPDX-License-Identifier: Apache-2.0 */
/* Keras model JSON: whatever is accepted has sound shapes, initial values and a description. */
#include "core/nn/model.h"

#include "core/base/alloc.h"
#include "tests/fuzz/fuzz.h"

#define FEW 4096 /* elements worth initialising */

static void check_shape(const struct ls_shape *shape)
{
    LST_FUZZ_CHECK(shape->rank >= 0 && shape->rank <= LS_MAX_RANK);
    for (int d = 0; d < shape->rank; d++)
        LST_FUZZ_CHECK(shape->dim[d] > 0);
    LST_FUZZ_CHECK(ls_shape_count(shape) > 0);
}

static void check_variable(const struct ls_model *model, int index)
{
    const struct ls_variable_info *info = ls_model_variable(model, index);
    int64_t count = ls_shape_count(&info->shape);

    LST_FUZZ_CHECK(info->path != NULL && info->path[0] != '\0');
    check_shape(&info->shape);
    if (count <= FEW) {
        void *data = ls_alloc_aligned((size_t)count * ls_dtype_size(info->dtype));
        struct ls_error err = LS_ERROR_INIT;

        LST_FUZZ_CHECK(data != NULL);
        LST_FUZZ_CHECK(ls_model_initialize(model, 1, index, data, &err) == LS_OK || err.message[0] != '\0');
        ls_free(data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    char *text = NULL;

    if (ls_model_from_keras((const char *)data, size, &model, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0' && model == NULL);
        return 0;
    }
    LST_FUZZ_CHECK(ls_model_input_count(model) > 0 && ls_model_output_count(model) > 0);
    for (int i = 0; i < ls_model_input_count(model); i++)
        check_shape(ls_model_input_shape(model, i));
    for (int i = 0; i < ls_model_output_count(model); i++)
        check_shape(ls_model_output_shape(model, i));
    for (int i = 0; i < ls_model_variable_count(model); i++)
        check_variable(model, i);
    LST_FUZZ_CHECK(ls_model_describe(model, &text, &err) == LS_OK && text != NULL);
    ls_free(text);
    text = ls_model_summary(model);
    LST_FUZZ_CHECK(text != NULL);
    ls_free(text);
    ls_model_destroy(model);
    return 0;
}
