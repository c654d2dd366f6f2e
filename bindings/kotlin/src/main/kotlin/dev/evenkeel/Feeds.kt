package dev.evenkeel

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** A feed of the core's as a cold flow: opened when it is collected, let go of however that ends. */
internal fun <F : AutoCloseable, T : Any> feed(
    open: () -> F,
    next: suspend (F) -> T?,
    cancel: (F) -> Unit,
): Flow<T> = flow {
    open().use { feed ->
        try {
            while (true) emit(next(feed) ?: break)
        } finally {
            cancel(feed)
        }
    }
}
