import EvenkeelFFI

/// Why a token is asked for: `needed` where one that is at hand will do, `refused` where the service refused
/// the last one and a fresh one is wanted.
public typealias TokenReason = EvenkeelFFI.TokenReason

/// Throw it from a token provider when the user is signed out: the client asks for nothing more until
/// ``EvenkeelClient/tokenChanged()``. Anything else that is thrown means that no token can be had now, and the
/// client asks again later, by itself.
public struct SignedOut: Error {
  /// The only one there is.
  public init() {}
}

/// Where the client gets its bearer token.
///
/// The answer is kept until the service refuses it or the app says that it changed. One question is asked at a
/// time. One that takes longer than `EvenkeelConfig.tokenTimeoutMs` is cancelled, as a task is, and counts as
/// none. What is thrown is never logged, as it could hold the token.
public typealias TokenSource = @Sendable (TokenReason) async throws -> String

/// The source in the core's form.
final class Tokens: EvenkeelFFI.TokenProvider {
  private let source: TokenSource

  init(_ source: @escaping TokenSource) {
    self.source = source
  }

  func token(reason: TokenReason) async throws -> String {
    do {
      return try await source(reason)
    } catch is SignedOut {
      throw TokenProviderError.SignedOut
    } catch {
      throw TokenProviderError.Unavailable
    }
  }
}

/// A listener in the core's form.
final class Listener: EvenkeelFFI.StatusListener {
  private let tell: @Sendable (SyncStatus) throws -> Void

  init(_ tell: @escaping @Sendable (SyncStatus) throws -> Void) {
    self.tell = tell
  }

  func onStatus(status: SyncStatus) throws {
    do {
      try tell(status)
    } catch {
      throw ListenerError.Failed
    }
  }
}

/// A listener's place at the client. It hears of statuses until it is cancelled or the client is closed, also
/// when nobody holds this.
public struct StatusSubscription: Sendable {
  let core: EvenkeelFFI.Subscription

  /// No call begins after this.
  public func cancel() {
    core.cancel()
  }
}
