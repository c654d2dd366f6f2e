// How waiting ends. A Swift task that is cancelled does not drop what it waits for in the core, so whatever
// can take long is given a token there, and the token is used when the task is cancelled.

import EvenkeelFFI

/// Waits for the call until the task is cancelled, which throws `CancellationError`.
func cancellable<T: Sendable>(_ call: (CancelToken) async throws -> T) async throws -> T {
  try Task.checkCancellation()
  let token = CancelToken()
  return try await withTaskCancellationHandler {
    try await translated { try await call(token) }
  } onCancel: {
    token.cancel()
  }
}

/// A short call: the errors are this module's own.
func translated<T: Sendable>(_ call: () async throws -> T) async throws -> T {
  do {
    return try await call()
  } catch {
    throw own(error)
  }
}

/// A call that returns at once.
func translated<T>(_ call: () throws -> T) throws -> T {
  do {
    return try call()
  } catch {
    throw own(error)
  }
}

/// What is pulled from the core, as a stream. Nothing runs ahead of its reader, so nothing piles up; when the
/// reader's task is cancelled, or the client closed, it ends.
func pulled<T: Sendable>(
  _ next: @escaping @Sendable () async -> T?, cancel: @escaping @Sendable () -> Void
) -> AsyncStream<T> {
  AsyncStream(unfolding: next, onCancel: cancel)
}

/// The same for what can fail: it ends with its first error.
func pulled<T: Sendable>(
  _ next: @escaping @Sendable () async throws -> T?, cancel: @escaping @Sendable () -> Void
) -> AsyncThrowingStream<T, any Error> {
  AsyncThrowingStream {
    try await withTaskCancellationHandler {
      do {
        return try await next()
      } catch {
        cancel()
        throw own(error)
      }
    } onCancel: {
      cancel()
    }
  }
}
