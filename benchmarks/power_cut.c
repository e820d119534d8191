/* Records what a process does to the files of one folder, in the order in which it does it.
 *
 * Preloaded (LD_PRELOAD); the folder is $POWER_CUT_FOLDER, the record goes to $POWER_CUT_LOG. One lock stands around each
 * call and its entry, so the order of entries is the order of calls. power_cut.py reads the record; the entry is
 *     kind (1 byte), length of the name (u32), offset (u64), length of the data (u64), name, data
 * with the kinds C create, W write, T truncate (offset is the size), S sync, U unlink, R rename (data is the new name).
 * A name is relative to the folder; the folder's own is empty. Files that end in -shm are memory, and are left out.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096

static char *names[FILES];
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int record = -1;
static char *folder;

__attribute__((constructor)) static void start(void) {
    char *path = getenv("POWER_CUT_LOG");
    folder = getenv("POWER_CUT_FOLDER");
    if (path && folder)
        record = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *data, size_t length) {
    const char *at = data;
    while (length) {
        ssize_t done = syscall(SYS_write, record, at, length);
        if (done <= 0)
            abort();
        at += done;
        length -= (size_t)done;
    }
}

static void entry(char kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    char head[21];
    uint32_t size = (uint32_t)strlen(name);
    head[0] = kind;
    memcpy(head + 1, &size, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &length, 8);
    put(head, sizeof head);
    put(name, size);
    put(data, length);
}

/* The name of a path within the folder, or NULL for what is not recorded. */
static const char *inside(const char *path) {
    size_t length = folder ? strlen(folder) : 0, all = path ? strlen(path) : 0;
    if (record < 0 || !length || strncmp(path, folder, length) || (path[length] && path[length] != '/'))
        return NULL;
    if (all > 4 && !strcmp(path + all - 4, "-shm"))
        return NULL;
    return path[length] ? path + length + 1 : "";
}

static const char *name_of(int file) { return file >= 0 && file < FILES ? names[file] : NULL; }

static int opened(int at, const char *path, int flags, mode_t mode) {
    const char *name = inside(path);
    if (!name)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat there;
    int is_new = (flags & O_CREAT) && stat(path, &there) != 0;
    int file = (int)syscall(SYS_openat, at, path, flags, mode);
    if (file >= 0 && file < FILES) {
        free(names[file]);
        names[file] = strdup(name);
        if (is_new)
            entry('C', name, 0, "", 0);
        else if (flags & O_TRUNC)
            entry('T', name, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return file;
}

#define MODE                                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode = va_arg(more, mode_t);                                                                                   \
        va_end(more);                                                                                                  \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags | O_LARGEFILE, mode); }

int close(int file) {
    if (name_of(file)) {
        pthread_mutex_lock(&lock);
        free(names[file]);
        names[file] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, file);
}

ssize_t write(int file, const void *data, size_t length) {
    const char *name = name_of(file);
    if (!name)
        return syscall(SYS_write, file, data, length);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(file, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, file, data, length);
    if (done > 0)
        entry('W', name, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    const char *name = name_of(file);
    if (!name)
        return syscall(SYS_pwrite64, file, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, file, data, length, offset);
    if (done > 0)
        entry('W', name, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset) { return pwrite64(file, data, length, offset); }

int ftruncate64(int file, off64_t size) {
    const char *name = name_of(file);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, file, size);
    if (name && !result)
        entry('T', name, (uint64_t)size, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

static int synced(int file, long call) {
    const char *name = name_of(file);
    if (!name)
        return (int)syscall(call, file);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(call, file);
    if (!result)
        entry('S', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

int unlink(const char *path) {
    const char *name = inside(path);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (name && !result)
        entry('U', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    const char *name = inside(from), *new_name = inside(to);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (name && new_name && !result)
        entry('R', name, 0, new_name, strlen(new_name));
    pthread_mutex_unlock(&lock);
    return result;
}
