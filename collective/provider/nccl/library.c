/* SPDX-License-Identifier: Apache-2.0 */
/* Finds and loads NCCL and the CUDA run-time library; see api.h. They stay loaded: neither can be unloaded safely. */
#include "collective/provider/nccl/api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NCCL_VARIABLE "LOCKSTEP_NCCL_LIBRARY"
#define CUDART_VARIABLE "LOCKSTEP_CUDART_LIBRARY"

struct symbol {
    const char *name;
    size_t offset; /* of the pointer in its table */
};

#define NCCL_SYMBOL(field, symbol, result, parameters) {#symbol, offsetof(struct nccl_api, field)},
static const struct symbol nccl_symbols[] = {NCCL_CALLS(NCCL_SYMBOL, int, struct nccl_comm *, struct nccl_id,
                                                        struct nccl_config, int, int, struct cuda_stream *)};
#undef NCCL_SYMBOL
#define CUDA_SYMBOL(field, symbol, result, parameters) {#symbol, offsetof(struct cuda_api, field)},
static const struct symbol cuda_symbols[] = {
    CUDA_CALLS(CUDA_SYMBOL, int, int, struct cuda_stream *, struct cuda_event *)};
#undef CUDA_SYMBOL

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct nccl_library library;
static bool loaded;

/* The first of names that is there, or what the variable names. */
static void *open_one(const char *variable, const char *const *names, const char *what, struct ls_error *err)
{
    const char *given = getenv(variable);
    const char *first[] = {given, NULL};
    char why[300] = "";
    void *handle = NULL;

    for (const char *const *name = given != NULL ? first : names; *name != NULL && handle == NULL; name++) {
        handle = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL && why[0] == '\0')
            (void)snprintf(why, sizeof why, "%s", dlerror());
    }
    if (handle == NULL)
        (void)ls_error_set(
            err, LS_EUNSUPPORTED,
            "the transport 'nccl' needs %s, which cannot be loaded: %s; install it or name its file in %s", what, why,
            variable);
    return handle;
}

static enum ls_status resolve(void *handle, const struct symbol *symbols, size_t count, void *table,
                              struct ls_error *err)
{
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(handle, symbols[i].name);
        if (address == NULL)
            return ls_error_set(err, LS_EUNSUPPORTED,
                                "the transport 'nccl' needs a newer library: there is no %s in it", symbols[i].name);
        memcpy((char *)table + symbols[i].offset, &address, sizeof address);
    }
    return LS_OK;
}

static enum ls_status load(struct ls_error *err)
{
    static const char *const nccl_names[] = {"libnccl.so.2", NULL};
    static const char *const cuda_names[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so", NULL};
    void *cuda = open_one(CUDART_VARIABLE, cuda_names, "CUDA's run-time library libcudart.so", err);
    void *nccl = cuda != NULL ? open_one(NCCL_VARIABLE, nccl_names, "NVIDIA's libnccl.so.2", err) : NULL;
    enum ls_status status;
    int code;

    if (nccl == NULL)
        return LS_EUNSUPPORTED;
    status = resolve(cuda, cuda_symbols, sizeof cuda_symbols / sizeof cuda_symbols[0], &library.cuda, err);
    if (status == LS_OK)
        status = resolve(nccl, nccl_symbols, sizeof nccl_symbols / sizeof nccl_symbols[0], &library.nccl, err);
    if (status != LS_OK)
        return status;
    code = library.nccl.get_version(&library.version);
    if (code != NCCL_OK)
        return ls_error_set(err, LS_EUNSUPPORTED, "NCCL does not tell its version: %s", library.nccl.error_text(code));
    if (library.version < NCCL_OLDEST_VERSION)
        return ls_error_set(err, LS_EUNSUPPORTED, "the transport 'nccl' needs NCCL 2.18 or later; this one is %d.%d.%d",
                            library.version / 10000, library.version / 100 % 100, library.version % 100);
    loaded = true;
    return LS_OK;
}

enum ls_status lsi_nccl_library_get(const struct nccl_library **got, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    (void)pthread_mutex_lock(&mutex);
    if (!loaded)
        status = load(err);
    (void)pthread_mutex_unlock(&mutex);
    if (status == LS_OK)
        *got = &library;
    return status;
}
