import EvenkeelFFI
import Foundation

/// What every error here can say. A task that is cancelled gets Swift's own `CancellationError` instead.
public protocol EvenkeelError: LocalizedError, CustomStringConvertible, Hashable, Sendable {
  /// What happened, in one line without secrets.
  var what: String { get }
  /// What the app can do about it.
  var advice: String { get }
}

extension EvenkeelError {
  /// Both in one line.
  public var description: String { "\(what). \(advice)" }
  /// For an alert's title.
  public var errorDescription: String? { what }
  /// For an alert's text.
  public var recoverySuggestion: String? { advice }
}

/// The client could not be opened, or the store not recovered. Nothing was started; a file that was there is
/// as it was.
public enum OpenError: EvenkeelError {
  /// It must be `https` (or `http` on loopback), without user, password, query and fragment.
  case url(reason: String)
  /// It is not a UUID.
  case deviceId
  /// It is out of range.
  case setting(name: String, reason: String)
  /// An extra root certificate cannot be read.
  case certificate(reason: String)
  /// The proxy cannot be used, or would carry a loopback service's requests off this machine.
  case proxy
  /// TLS or HTTP could not be set up on this system, for want of root certificates for instance.
  case network(reason: String)
  /// A file in the state folder holds something else than this client writes there.
  case stateCorrupt(path: String, reason: String)
  /// The state folder cannot be read or written.
  case stateUnusable(path: String, reason: String)
  /// The store belongs to another account.
  case wrongAccount
  /// The file is something else than a store.
  case notAStore(path: String)
  /// A later release wrote this store.
  case newerStore(found: Int64, known: Int64)
  /// The store is damaged.
  case storeCorrupt(reason: String)
  /// Another process kept the store to itself for several seconds.
  case storeBusy
  /// No room is left to open it.
  case storeFull
  /// The file cannot be opened, made or read.
  case storeUnusable(path: String, reason: String)
  /// A fault in this library, or the system has no thread left.
  case `internal`(reason: String)
}

/// A call that steers the client failed.
public enum ClientError: EvenkeelError {
  /// The client was closed.
  case closed
  /// A suspension did not come to its end in time. The client is suspended nevertheless, and what is named here
  /// ends by itself: `pull`, `push`, `stream`, …
  case unfinished(left: [String])
  /// A fault in this library.
  case `internal`(reason: String)
}

/// A call to the store failed; nothing changed.
public enum DataError: EvenkeelError {
  /// As many writes wait (or are in conflict, or parked) as are kept.
  case outboxFull(kept: UInt32)
  /// A record's id must have 1 to 128 characters.
  case id
  /// There is no such record, conflict or parked write.
  case notFound
  /// A record is an object in JSON, a bookmark one that a page gave; this is not.
  case json(reason: String)
  /// No room is left.
  case full
  /// The store is damaged.
  case corrupt(reason: String)
  /// The client was closed or signed out, here or in another process.
  case closed
  /// The client is suspended, and its files are closed.
  case suspended
  /// Another process wrote for several seconds without a pause.
  case busy
  /// Anything else, in the store or in this library.
  case `internal`(reason: String)
}

/// ``EvenkeelClient/syncOnce(within:)`` did not reach its goal. The client goes back to what it was doing before.
public enum SyncOnceError: EvenkeelError {
  /// The deadline came first. What was applied until then stays.
  case deadline(status: SyncStatus)
  /// A failure stands in the way, and the next attempt would come after the deadline, or only the app can do
  /// something.
  case failed(status: SyncStatus)
  /// The client was stopped or suspended meanwhile.
  case interrupted
  /// The client was closed.
  case closed
  /// A fault in this library.
  case `internal`(reason: String)
}

/// A request that the app made was not answered as wanted.
public enum RequestError: EvenkeelError {
  /// The client is suspended: nothing was sent.
  case suspended
  /// The service asked to be left alone: nothing was sent.
  case held(wait: Duration)
  /// The service refused, or could not be reached.
  case failed(FailureInfo)
  /// The client was closed.
  case closed
  /// A fault in this library.
  case `internal`(reason: String)
}

/// A call for AI came to nothing.
public enum AiError: EvenkeelError {
  /// No provider is connected, or it does not take its key any more.
  case notConnected
  /// An earlier failure has to be waited out for longer than the call may take: nothing was sent.
  case held(wait: Duration, cause: Cause)
  /// The service or its provider refused, failed, or could not be reached, after so many requests.
  case failed(FailureInfo, attempts: UInt32)
  /// The client was closed.
  case closed
  /// A fault in this library.
  case `internal`(reason: String)
}

/// The core's error as this module's; what it does not know stays as it is.
func own(_ error: any Error) -> any Error {
  switch error {
  case let error as EvenkeelFFI.OpenError: OpenError(error)
  case let error as EvenkeelFFI.ClientError: ClientError(error) ?? CancellationError()
  case let error as EvenkeelFFI.DataError: DataError(error) ?? CancellationError()
  case let error as EvenkeelFFI.SyncOnceError: SyncOnceError(error) ?? CancellationError()
  case let error as EvenkeelFFI.RequestError: RequestError(error) ?? CancellationError()
  case let error as EvenkeelFFI.AiError: AiError(error) ?? CancellationError()
  default: error
  }
}

/// An error, or that there is none because the call was cancelled.
private func ?? (error: (some Error)?, cancelled: CancellationError) -> any Error {
  if let error { error } else { cancelled }
}
