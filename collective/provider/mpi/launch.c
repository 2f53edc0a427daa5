/* SPDX-License-Identifier: Apache-2.0 */
/* Finds and loads the MPI plug-in; see launch.h. Called from the program's first thread. */
#include "collective/provider/mpi/launch.h"

#include "collective/provider/mpi/mpi_internal.h"
#include "core/base/str.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN_FILE "lockstep_mpi.so"

static struct mpi_launch launch;

const struct mpi_launch *lsi_mpi_launch_get(void)
{
    return &launch;
}

const char *ls_mpi_launch_detected(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MV2_COMM_WORLD_SIZE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]) != NULL)
            return names[i];
    return NULL;
}

/* The directory of this program, without a slash at its end. */
static bool own_directory(char directory[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", directory, PATH_MAX - 1);
    char *slash;

    if (length < 0)
        return false;
    directory[length] = '\0';
    slash = strrchr(directory, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* NULL where it is not there or cannot be loaded; then *why is the newest reason of one that is there. */
static void *try_load(const char *directory, const char *inside, char why[300])
{
    char path[PATH_MAX + 64];
    void *library;

    (void)snprintf(path, sizeof path, "%s%s/" PLUGIN_FILE, directory, inside);
    if (access(path, R_OK) != 0)
        return NULL;
    /* Open MPI's own components look for its symbols among the global ones. */
    library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        (void)snprintf(why, 300, "%s", dlerror());
    return library;
}

static void *load(char why[300])
{
    /* Installed beside the program, or in the build's folder. */
    static const char *const places[] = {"/../lib/lockstep",
                                         "/../lib64/lockstep",
                                         "/../lib/x86_64-linux-gnu/lockstep",
                                         "/../lib/aarch64-linux-gnu/lockstep",
                                         "/plugins",
                                         "/../plugins",
                                         "/../../plugins"};
    const char *given = getenv("LOCKSTEP_PLUGINS");
    char directory[PATH_MAX];
    void *library = NULL;

    if (given != NULL && given[0] != '\0')
        return try_load(given, "", why);
    if (!own_directory(directory))
        return NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && library == NULL; i++)
        library = try_load(directory, places[i], why);
    return library;
}

static enum ls_status load_plugin(const struct ls_mpi_plugin **plugin, struct ls_error *err)
{
    const char *launcher = ls_mpi_launch_detected();
    char why[300] = "";
    void *library = load(why);
    ls_mpi_plugin_get get = NULL;
    void *symbol;

    if (library == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "%s%s the MPI plug-in " PLUGIN_FILE
                            " %s%s; it belongs into lib/lockstep beside bin, or into "
                            "the directory that LOCKSTEP_PLUGINS names",
                            launcher != NULL ? launcher : "MPI",
                            launcher != NULL ? " says that an MPI launcher started this process, but" : " needs, but",
                            why[0] != '\0' ? "cannot be loaded: " : "is missing", why);
    symbol = dlsym(library, LS_MPI_PLUGIN_SYMBOL);
    memcpy(&get, &symbol, sizeof get);
    *plugin = get != NULL ? get() : NULL;
    if (*plugin == NULL || (*plugin)->abi != LS_MPI_PLUGIN_ABI || (*plugin)->size != sizeof **plugin) {
        dlclose(library);
        return ls_error_set(err, LS_EUNSUPPORTED, "the MPI plug-in " PLUGIN_FILE " belongs to another version");
    }
    return LS_OK;
}

/* A launcher of another MPI makes every process a world of its own: each would train the whole job. */
static enum ls_status compare_sizes(int world, struct ls_error *err)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE",
                                        "SLURM_STEP_NUM_TASKS"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        int64_t size;

        if (text == NULL)
            continue;
        if (!ls_str_to_i64(text, &size) || size == world)
            return LS_OK;
        return ls_error_set(err, LS_EINVAL,
                            "%s says that %lld processes were started, but MPI sees %d; start with the launcher of the "
                            "MPI that " PLUGIN_FILE " is built with, or unset it to train without one",
                            names[i], (long long)size, world);
    }
    return LS_OK;
}

enum ls_status ls_mpi_launch_open(int *rank, int *world, struct ls_error *err)
{
    const struct ls_mpi_plugin *plugin = NULL;
    char text[256];
    int any_thread = 0;
    enum ls_status status;

    if (launch.plugin == NULL) {
        status = load_plugin(&plugin, err);
        if (status != LS_OK)
            return status;
        int code = plugin->init(&launch.rank, &launch.world, &any_thread);
        if (code != 0) {
            plugin->text(code, text, sizeof text);
            return ls_error_set(err, LS_EPEER, "MPI did not start: %s", text);
        }
        launch.any_thread = any_thread != 0;
        launch.plugin = plugin;
    }
    *rank = launch.rank;
    *world = launch.world;
    status = compare_sizes(launch.world, err);
    if (status != LS_OK && launch.world == 1)
        ls_mpi_finalize(0);
    return status;
}

enum ls_status ls_mpi_bcast_bytes(void *data, size_t bytes, int root, struct ls_error *err)
{
    char text[256];
    int code;

    if (launch.plugin == NULL)
        return ls_error_set(err, LS_EINVAL, "MPI was not started");
    if (root < 0 || root >= launch.world || bytes > INT_MAX)
        return ls_error_set(err, LS_EINVAL, "broadcast of %zu bytes from process %d of %d", bytes, root, launch.world);
    code = launch.plugin->broadcast(data, bytes, root);
    if (code == 0)
        return LS_OK;
    launch.plugin->text(code, text, sizeof text);
    return ls_error_set(err, LS_EPEER, "the broadcast from process %d failed: %s", root, text);
}

enum ls_status ls_mpi_all_reduce_f32(const float *src, float *dst, int64_t count, struct ls_error *err)
{
    char text[256];
    int code;

    if (launch.plugin == NULL || count > INT_MAX)
        return ls_error_set(err, LS_EINVAL, "MPI was not started, or %lld elements are too many", (long long)count);
    code = launch.plugin->all_reduce_f32(src, dst, count);
    if (code == 0)
        return LS_OK;
    launch.plugin->text(code, text, sizeof text);
    return ls_error_set(err, LS_EPEER, "MPI_Allreduce failed: %s", text);
}

void ls_mpi_finalize(int exit_status)
{
    if (launch.plugin == NULL)
        return;
    if (exit_status != 0)
        launch.plugin->abort(exit_status);
    else
        (void)launch.plugin->finalize();
    launch.plugin = NULL;
}
