/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oneDNN 2's direct convolution on channels-last images, beside bench_conv's own. It chooses the layout of its weights
 * and its order of sums; putting weights into that layout is not counted.
 */
#include "core/base/alloc.h"
#include "tests/bench/bench_conv.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

struct bench_rival {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[4];
    int arg_count;
};

static void check(dnnl_status_t status)
{
    if (status != dnnl_success) {
        fprintf(stderr, "bench_conv: oneDNN gave status %d\n", (int)status);
        exit(1);
    }
}

const char *bench_rival_name(void)
{
    return "oneDNN";
}

void bench_rival_threads(int threads)
{
    /* oneDNN runs on OpenMP; its runtime is here when oneDNN is. */
    void (*set_threads)(int) = NULL;
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads != NULL) {
        set_threads(threads);
    }
}

/* Memory of a primitive's operand, filled. */
static void add_memory(struct bench_rival *r, dnnl_primitive_desc_t pd, dnnl_query_t what, int arg)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, what, 0);
    size_t bytes = dnnl_memory_desc_get_size(md);
    float *data = ls_alloc_aligned(bytes);
    dnnl_memory_t memory = NULL;
    if (data == NULL) {
        check(dnnl_out_of_memory);
        return;
    }
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
        data[i] = (float)(i % 2001) / 1000.0f - 1.0f;
    }
    check(dnnl_memory_create(&memory, md, r->engine, data));
    r->args[r->arg_count++] = (dnnl_exec_arg_t){.arg = arg, .memory = memory};
}

static void make_descs(const struct bench_conv *l, dnnl_memory_desc_t *x, dnnl_memory_desc_t *w, dnnl_memory_desc_t *y)
{
    int oh = (l->h + 2 * l->pad - l->kernel) / l->stride + 1;
    int ow = (l->w + 2 * l->pad - l->kernel) / l->stride + 1;
    dnnl_dims_t xd = {l->n, l->ci, l->h, l->w};
    dnnl_dims_t wd = {l->co, l->ci, l->kernel, l->kernel};
    dnnl_dims_t yd = {l->n, l->co, oh, ow};
    check(dnnl_memory_desc_init_by_tag(x, 4, xd, dnnl_f32, dnnl_nhwc));
    check(dnnl_memory_desc_init_by_tag(w, 4, wd, dnnl_f32, dnnl_format_tag_any));
    check(dnnl_memory_desc_init_by_tag(y, 4, yd, dnnl_f32, dnnl_nhwc));
}

struct bench_rival *bench_rival_create(const struct bench_conv *l, int op)
{
    struct bench_rival *r = ls_alloc_zeroed(1, sizeof *r);
    dnnl_memory_desc_t x, w, y;
    dnnl_dims_t strides = {l->stride, l->stride};
    dnnl_dims_t pads = {l->pad, l->pad};
    dnnl_dims_t pads_end;
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_primitive_desc_t pd = NULL;
    if (r == NULL) {
        return NULL;
    }
    make_descs(l, &x, &w, &y);
    for (int i = 0; i < 2; i++) { /* oneDNN wants the padding that is used */
        pads_end[i] = (y.dims[2 + i] - 1) * l->stride + l->kernel - x.dims[2 + i] - l->pad;
    }
    check(dnnl_engine_create(&r->engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&r->stream, r->engine, dnnl_stream_default_flags));
    check(dnnl_convolution_forward_desc_init(&forward, dnnl_forward_training, dnnl_convolution_direct, &x, &w, NULL, &y,
                                             strides, pads, pads_end));
    check(dnnl_primitive_desc_create(&hint, &forward, NULL, r->engine, NULL));
    if (op == 1) {
        check(dnnl_convolution_backward_data_desc_init(&backward, dnnl_convolution_direct, &x, &w, &y, strides, pads,
                                                       pads_end));
    } else if (op == 2) {
        check(dnnl_convolution_backward_weights_desc_init(&backward, dnnl_convolution_direct, &x, &w, NULL, &y, strides,
                                                          pads, pads_end));
    }
    if (op == 0) {
        pd = hint;
    } else {
        check(dnnl_primitive_desc_create(&pd, &backward, NULL, r->engine, hint));
    }
    add_memory(r, pd, op == 1 ? dnnl_query_diff_src_md : dnnl_query_src_md, op == 1 ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC);
    add_memory(r, pd, op == 2 ? dnnl_query_diff_weights_md : dnnl_query_weights_md,
               op == 2 ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS);
    add_memory(r, pd, op == 0 ? dnnl_query_dst_md : dnnl_query_diff_dst_md, op == 0 ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST);
    check(dnnl_primitive_create(&r->primitive, pd));
    if (pd != hint) {
        check(dnnl_primitive_desc_destroy(hint));
    }
    check(dnnl_primitive_desc_destroy(pd));
    return r;
}

double bench_rival_run(struct bench_rival *r, int threads)
{
    double begin = bench_now_ns(threads);
    check(dnnl_primitive_execute(r->primitive, r->stream, r->arg_count, r->args));
    check(dnnl_stream_wait(r->stream));
    return bench_now_ns(threads) - begin;
}

void bench_rival_destroy(struct bench_rival *r)
{
    if (r == NULL) {
        return;
    }
    dnnl_primitive_destroy(r->primitive);
    for (int i = 0; i < r->arg_count; i++) {
        void *data = NULL;
        dnnl_memory_get_data_handle(r->args[i].memory, &data);
        dnnl_memory_destroy(r->args[i].memory);
        ls_free(data);
    }
    dnnl_stream_destroy(r->stream);
    dnnl_engine_destroy(r->engine);
    ls_free(r);
}
