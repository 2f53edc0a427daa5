/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of convolution, its gradients, and pooling. Images are NHWC. */
#include "core/ops/context_internal.h"

/* Input i is an image batch. */
static enum ls_status check_image(const struct lsi_rule_call *call, int i, struct ls_error *err)
{
    if (lsi_in(call, i)->shape.rank != 4)
        return lsi_rule_fail(call, err, "input %d has %d dimensions; images (n, h, w, c) are needed", i,
                             lsi_in(call, i)->shape.rank);
    return lsi_rule_float(call, i, err);
}

/* Places of a window along one axis; below 1: it does not fit. */
static int64_t places(int64_t size, int begin, int end, int64_t window, int stride)
{
    int64_t room = size + begin + end - window;

    return room < 0 ? 0 : room / stride + 1;
}

static enum ls_status check_conv_attrs(const struct lsi_rule_call *call, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;

    for (int d = 0; d < 2; d++)
        if (a->stride[d] < 1 || a->dilation[d] < 1 || a->kernel[d] < 1 || a->x_size[d] < 1 || a->pad_begin[d] < 0 ||
            a->pad_end[d] < 0)
            return lsi_rule_fail(call, err, "stride, dilation, kernel and size are at least 1, padding at least 0");
    return LS_OK;
}

/* Height and width that a convolution with these attributes gives. */
static enum ls_status conv_places(const struct lsi_rule_call *call, int64_t size[2], struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;

    for (int d = 0; d < 2; d++) {
        int64_t window = (int64_t)(a->kernel[d] - 1) * a->dilation[d] + 1;

        size[d] = places(a->x_size[d], a->pad_begin[d], a->pad_end[d], window, a->stride[d]);
        if (size[d] < 1)
            return lsi_rule_fail(call, err, "a window of %lld does not fit into %d with its padding", (long long)window,
                                 a->x_size[d]);
    }
    return LS_OK;
}

/* Input i, an image batch, has this height and width. */
static enum ls_status check_size(const struct lsi_rule_call *call, int i, int64_t h, int64_t w, struct ls_error *err)
{
    const struct ls_shape *shape = &lsi_in(call, i)->shape;

    if (shape->dim[1] != h || shape->dim[2] != w)
        return lsi_rule_fail(call, err, "input %d is %lld by %lld where %lld by %lld fits", i, (long long)shape->dim[1],
                             (long long)shape->dim[2], (long long)h, (long long)w);
    return LS_OK;
}

static enum ls_status check_conv2d(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    enum ls_status status = LS_OK;
    int64_t size[2], co;

    if (call->in_count < 2 || call->in_count > 3)
        return lsi_rule_fail(call, err, "%d inputs; x, w and perhaps a bias are needed", call->in_count);
    for (int i = 0; i < 2 && status == LS_OK; i++)
        status = check_image(call, i, err);
    if (status == LS_OK && call->in_count == 3)
        status = lsi_rule_float(call, 2, err);
    if (status == LS_OK)
        status = check_conv_attrs(call, err);
    if (status == LS_OK)
        status = check_size(call, 0, a->x_size[0], a->x_size[1], err);
    if (status == LS_OK)
        status = conv_places(call, size, err);
    if (status != LS_OK)
        return status;
    co = lsi_in(call, 1)->shape.dim[3];
    status = lsi_rule_parameter(call, 1, &LS_SHAPE(a->kernel[0], a->kernel[1], lsi_in(call, 0)->shape.dim[3], co), err);
    if (status == LS_OK && call->in_count == 3)
        status = lsi_rule_parameter(call, 2, &LS_SHAPE(co), err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape = LS_SHAPE(lsi_in(call, 0)->shape.dim[0], size[0], size[1], co);
    return LS_OK;
}

static enum ls_status check_conv2d_xgrad(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    enum ls_status status = check_image(call, 0, err);
    int64_t size[2], ci;

    if (status == LS_OK)
        status = check_image(call, 1, err);
    if (status == LS_OK)
        status = check_conv_attrs(call, err);
    if (status == LS_OK)
        status = conv_places(call, size, err);
    if (status == LS_OK)
        status = check_size(call, 0, size[0], size[1], err);
    if (status != LS_OK)
        return status;
    ci = lsi_in(call, 1)->shape.dim[2];
    status = lsi_rule_parameter(call, 1, &LS_SHAPE(a->kernel[0], a->kernel[1], ci, lsi_in(call, 0)->shape.dim[3]), err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape = LS_SHAPE(lsi_in(call, 0)->shape.dim[0], a->x_size[0], a->x_size[1], ci);
    return LS_OK;
}

static enum ls_status check_conv2d_wgrad(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    int first = a->batch.accumulate ? 1 : 0;
    struct ls_shape shape = {0};
    enum ls_status status;
    int64_t size[2];

    if (call->in_count < first + 2 || (call->in_count - first) % 2 != 0)
        return lsi_rule_fail(call, err, "%d inputs; pairs of x and dy are needed", call->in_count);
    status = check_conv_attrs(call, err);
    if (status == LS_OK)
        status = conv_places(call, size, err);
    for (int i = first; i < call->in_count && status == LS_OK; i += 2) {
        const struct ls_value_info *x = lsi_in(call, i), *dy = lsi_in(call, i + 1);
        struct ls_shape pair;

        status = check_image(call, i, err);
        if (status == LS_OK)
            status = check_image(call, i + 1, err);
        if (status == LS_OK)
            status = check_size(call, i, a->x_size[0], a->x_size[1], err);
        if (status == LS_OK)
            status = check_size(call, i + 1, size[0], size[1], err);
        if (status != LS_OK)
            break;
        if (x->distribution != LS_PER_SAMPLE || dy->distribution != LS_PER_SAMPLE ||
            x->rows_per_sample != dy->rows_per_sample || x->shape.dim[0] != dy->shape.dim[0])
            return lsi_rule_fail(call, err, "inputs %d and %d must be spread over the same samples", i, i + 1);
        pair = LS_SHAPE(a->kernel[0], a->kernel[1], x->shape.dim[3], dy->shape.dim[3]);
        if (i > first && !ls_shape_equal(&pair, &shape))
            return lsi_rule_fail(call, err, "inputs %d and %d give another shape than the first pair", i, i + 1);
        shape = pair;
    }
    return status == LS_OK ? lsi_rule_partial(call, &a->batch, &shape, out, err) : status;
}

static enum ls_status pool_shape(const struct lsi_rule_call *call, struct ls_shape *shape, struct ls_error *err)
{
    const struct ls_pool2d_attrs *a = &call->attrs->pool2d;
    enum ls_status status = check_image(call, 0, err);

    if (status != LS_OK)
        return status;
    *shape = lsi_in(call, 0)->shape;
    for (int d = 0; d < 2; d++) {
        if (a->size[d] < 1 || a->stride[d] < 1 || a->pad_begin[d] < 0 || a->pad_end[d] < 0 ||
            a->pad_begin[d] >= a->size[d] || a->pad_end[d] >= a->size[d])
            return lsi_rule_fail(call, err, "size and stride are at least 1, padding is below the size");
        shape->dim[d + 1] = places(shape->dim[d + 1], a->pad_begin[d], a->pad_end[d], a->size[d], a->stride[d]);
        if (shape->dim[d + 1] < 1)
            return lsi_rule_fail(call, err, "a window of %d does not fit into the image with its padding", a->size[d]);
    }
    return LS_OK;
}

static enum ls_status check_max_pool2d(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    struct ls_shape shape;
    enum ls_status status = pool_shape(call, &shape, err);

    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape = shape;
    return LS_OK;
}

static enum ls_status check_max_pool2d_grad(const struct lsi_rule_call *call, struct lsi_result *out,
                                            struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0), *dy = lsi_in(call, 1);
    struct ls_shape shape;
    enum ls_status status = pool_shape(call, &shape, err);

    if (status == LS_OK)
        status = lsi_rule_float(call, 1, err);
    if (status != LS_OK)
        return status;
    if (!ls_shape_equal(&dy->shape, &shape) || dy->distribution != x->distribution ||
        dy->rows_per_sample != x->rows_per_sample)
        return lsi_rule_fail(call, err, "dy does not fit what pooling x gives");
    lsi_rule_like(call, 0, out);
    return LS_OK;
}

static enum ls_status check_avg_pool(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_image(call, 0, err);

    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    if (out->info.shape.dim[1] < 1 || out->info.shape.dim[2] < 1)
        return lsi_rule_fail(call, err, "an image without positions has no average");
    out->info.shape = LS_SHAPE(out->info.shape.dim[0], out->info.shape.dim[3]);
    return LS_OK;
}

static enum ls_status check_avg_pool_grad(const struct lsi_rule_call *call, struct lsi_result *out,
                                          struct ls_error *err)
{
    const struct ls_value_info *dy = lsi_in(call, 0);

    if (dy->shape.rank != 2 || call->attrs->avg_pool_grad.h < 1 || call->attrs->avg_pool_grad.w < 1)
        return lsi_rule_fail(call, err, "dy (n, c) and a height and width of at least 1 are needed");
    lsi_rule_like(call, 0, out);
    out->info.shape =
        LS_SHAPE(dy->shape.dim[0], call->attrs->avg_pool_grad.h, call->attrs->avg_pool_grad.w, dy->shape.dim[1]);
    return lsi_rule_float(call, 0, err);
}

void lsi_rules_conv(struct lsi_rule *table)
{
    table[LS_OP_CONV2D] = (struct lsi_rule){.check = check_conv2d};
    table[LS_OP_CONV2D_XGRAD] = (struct lsi_rule){.check = check_conv2d_xgrad};
    table[LS_OP_CONV2D_WGRAD] = (struct lsi_rule){.check = check_conv2d_wgrad, .takes_partial = true};
    table[LS_OP_MAX_POOL2D] = (struct lsi_rule){.check = check_max_pool2d};
    table[LS_OP_MAX_POOL2D_GRAD] = (struct lsi_rule){.check = check_max_pool2d_grad};
    table[LS_OP_AVG_POOL_GLOBAL] = (struct lsi_rule){.check = check_avg_pool};
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = (struct lsi_rule){.check = check_avg_pool_grad};
}
