/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a device and finding the kernel of a call: the tables in order, the reference last. */
#include "core/device/device_internal.h"

#include "core/base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 1024

static const char *const op_names[LS_OP_COUNT] = {
#define LS_OP_NAME(code, name, inputs, outputs) [code] = name,
    LS_OP_LIST(LS_OP_NAME)
#undef LS_OP_NAME
};

const char *lsi_device_op_name(enum ls_op op)
{
    return op_names[op];
}

static enum ls_status choose_isa(const char *wanted, const struct lsi_isa **isa, struct ls_error *err)
{
    const char *name = wanted;

    if (name == NULL)
        name = getenv("LOCKSTEP_ISA");
    if (name != NULL && name[0] == '\0')
        name = NULL;
    *isa = lsi_isa_find(name);
    if (*isa == NULL)
        return ls_error_set(err, LS_EINVAL,
                            "there is no instruction set \"%s\" in this build; %s takes ref, avx2 or avx512", name,
                            wanted != NULL ? "run.isa" : "LOCKSTEP_ISA");
    if (!(*isa)->present())
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "this processor does not have the instruction set \"%s\"; leave %s unset", name,
                            wanted != NULL ? "run.isa" : "LOCKSTEP_ISA");
    return LS_OK;
}

static void add_table(struct ls_device *device, const struct lsi_kernel *table)
{
    if (table != NULL)
        device->tables[device->table_count++] = table;
}

void lsi_device_prepend(struct ls_device *device, const struct lsi_kernel *table)
{
    assert(device->table_count < LSI_MAX_TABLES);
    memmove(device->tables + 1, device->tables, (size_t)device->table_count * sizeof *device->tables);
    device->tables[0] = table;
    device->table_count++;
}

static enum ls_status open_cpu(struct ls_device *device, const struct ls_device_options *options, struct ls_error *err)
{
    const struct lsi_isa *isa;
    enum ls_status status = choose_isa(options->isa, &isa, err);

    if (status != LS_OK)
        return status;
    device->name = isa->device_name;
    if (options->fast) {
        status = lsi_blas_open(options->threads, &device->blas, err);
        if (status != LS_OK)
            return status;
        add_table(device, lsi_blas_kernels());
    }
    if (isa->kernels != NULL)
        add_table(device, isa->kernels());
    if (isa->sweeps != NULL)
        device->sweeps = isa->sweeps();
    return LS_OK;
}

enum ls_status ls_device_open(const char *name, const struct ls_device_options *options, struct ls_device **device,
                              struct ls_error *err)
{
    const struct ls_device_options defaults = LS_DEVICE_OPTIONS_DEFAULT;
    bool is_ref = strcmp(name, "ref") == 0;
    struct ls_device *opened;
    enum ls_status status = LS_OK;

    if (options == NULL)
        options = &defaults;
    if (!is_ref && strcmp(name, "cpu") != 0)
        return ls_error_set(err, LS_EINVAL, "there is no device \"%s\"; use ref or cpu", name);
    if (options->threads < 1 || options->threads > MAX_THREADS)
        return ls_error_set(err, LS_EINVAL, "a device has 1 to %d threads, not %d", MAX_THREADS, options->threads);
    opened = ls_alloc_zeroed(1, sizeof *opened);
    if (opened == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is no memory for a device");
    lsi_float_mode_set();
    opened->name = "ref";
    if (!is_ref)
        status = open_cpu(opened, options, err);
    if (status == LS_OK)
        status = lsi_pool_create(is_ref ? 1 : options->threads, &opened->pool, err);
    if (status != LS_OK) {
        ls_device_close(opened);
        return status;
    }
    add_table(opened, lsi_ref_kernels());
    if (opened->sweeps == NULL)
        opened->sweeps = lsi_ref_sweeps();
    *device = opened;
    return LS_OK;
}

void ls_device_close(struct ls_device *device)
{
    if (device == NULL)
        return;
    lsi_pool_destroy(device->pool);
    lsi_blas_close(device->blas);
    ls_free(device);
}

const char *ls_device_name(const struct ls_device *device)
{
    return device->name;
}

int ls_device_threads(const struct ls_device *device)
{
    return lsi_pool_threads(device->pool);
}

bool ls_device_supports(const struct ls_device *device, enum ls_op op)
{
    int i;

    for (i = 0; i < device->table_count; i++) {
        if (device->tables[i][op].run != NULL)
            return true;
    }
    return false;
}

static const struct lsi_kernel *find_kernel(const struct ls_device *device, const struct ls_op_call *call)
{
    int i;

    for (i = 0; i < device->table_count; i++) {
        const struct lsi_kernel *kernel = &device->tables[i][call->op];

        if (kernel->run != NULL && (kernel->accepts == NULL || kernel->accepts(device, call)))
            return kernel;
    }
    return NULL;
}

size_t ls_device_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    const struct lsi_kernel *kernel = find_kernel(device, call);

    return kernel == NULL || kernel->workspace == NULL ? 0 : kernel->workspace(device, call);
}

enum ls_status ls_device_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const struct lsi_kernel *kernel = find_kernel(device, call);

    if (kernel == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "the device %s has no kernel for the op %s with these operands",
                            device->name, lsi_device_op_name(call->op));
    lsi_float_mode_set();
    return kernel->run(device, call, err);
}
