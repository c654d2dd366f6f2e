import EvenkeelFFI
import Foundation

/// A client of the sync service, with its store.
///
/// Every call may be made in any state, from any task. Trouble of the service is no error here: it is in the
/// status, and the client deals with it by itself. What waits ends with `CancellationError` when its task is
/// cancelled. After ``close()`` every call throws its error `closed`.
///
///     let client = try await EvenkeelClient(config) { reason in try await session.token(reason) }
///     try client.start()
///     for await status in client.statuses() { badge.show(status) }
public final class EvenkeelClient: Sendable {
  let core: EvenkeelFFI.EvenkeelClient

  /// This device's id, as the service knows it.
  public let deviceId: String

  /// Opens the store, and makes it where there is none. Nothing is sent before ``start()``.
  ///
  /// - Throws: ``OpenError``.
  public init(_ config: EvenkeelConfig, token: @escaping TokenSource) async throws {
    core = try await translated {
      try await EvenkeelFFI.EvenkeelClient.open(config: config, tokenProvider: Tokens(token))
    }
    deviceId = core.deviceId()
  }

  /// Makes a damaged store of this account's usable again: what the app wrote and the server has not answered
  /// for is kept wherever it can be read, and the server's records come again with the next sync. A copy of
  /// the damaged file stays beside it. No client may have it open.
  ///
  /// - Throws: ``OpenError``.
  public static func recoverStore(at path: String, accountId: String) async throws -> Recovery {
    try await translated { try await EvenkeelFFI.recoverStore(path: path, accountId: accountId) }
  }

  /// Ends everything, and returns when no thread, connection or file is left. What waits to be sent stays in
  /// the store. May be called again.
  ///
  /// A client that nobody holds closes by itself; one whose streams are still read does not.
  public func close() async {
    await core.shutDown()
  }

  // MARK: Lifecycle

  /// Begins to sync. On a client that runs it changes nothing, on a suspended one it is
  /// ``resume()`` without the wait.
  ///
  /// - Throws: ``ClientError``, as everything here that steers.
  public func start() throws {
    try translated { try core.start() }
  }

  /// Pauses the client: gives up what is under way, closes connections and files, and returns when nothing is
  /// left, at the latest at the deadline. It is not cut short by cancelling the task: it is what an app does
  /// last before the system freezes it.
  ///
  /// - Throws: ``ClientError/unfinished(left:)`` at the deadline; the client is suspended nevertheless.
  public func suspend(within deadline: Duration = .seconds(4)) async throws {
    try await translated { try await core.suspend(deadlineMs: deadline.ms) }
  }

  /// Goes on after ``suspend(within:)``, and returns when the store's files are open again. Without effect on a
  /// client that is not suspended.
  public func resume() async throws {
    try translated { try core.resume() }
    for await status in statuses() where status.lifecycle != .suspended { return }
    try Task.checkCancellation()
    throw ClientError.closed
  }

  /// Ends the syncing, and returns when it has ended. ``start()`` begins anew.
  public func stop() async throws {
    try await translated { try await core.stop() }
  }

  /// For a background wake-up: starts or resumes the client if it is at rest, brings everything up to date,
  /// and puts it back to rest.
  ///
  /// - Throws: ``SyncOnceError``; `CancellationError` when the task is cancelled, what was applied until then
  ///   stays.
  public func syncOnce(within deadline: Duration) async throws -> SyncReport {
    try await cancellable { try await self.core.syncOnce(deadlineMs: deadline.ms, cancel: $0) }
  }

  // MARK: Hints

  /// What the system says about the network. ``NetworkWatch`` tells it on Apple's systems.
  public func setNetwork(_ network: NetworkState) throws {
    try translated { try core.setNetwork(network: network) }
  }

  /// Whether the user sees the app. Coming to the foreground cuts a wait short.
  public func setForeground(_ foreground: Bool) throws {
    try translated { try core.setForeground(foreground: foreground) }
  }

  /// The app has another token, or the user signed in again: the token source is asked anew.
  public func tokenChanged() throws {
    try translated { try core.tokenChanged() }
  }

  /// The user asks to try again now. Cuts a wait short, but never the server's; rate-limited.
  public func retryNow() throws {
    try translated { try core.retryNow() }
  }

  /// Asks for a pull: a push notification came, or a screen was opened.
  public func syncNow() throws {
    try translated { try core.syncNow() }
  }

  // MARK: Status

  /// How things stand now.
  public func status() throws -> SyncStatus {
    try translated { try core.status() }
  }

  /// The present status, then each newer one; a slow reader skips some, but never the latest. Ends when its
  /// task is cancelled or the client closed. Every call gives a stream of its own.
  public func statuses() -> AsyncStream<SyncStatus> {
    let cancel = CancelToken()
    let seen = Latest()
    return pulled {
      let next = try? await self.core.nextStatus(afterVersion: seen.version, cancel: cancel)
      guard let status = next else { return nil }
      seen.version = status.version
      return status
    } cancel: {
      cancel.cancel()
    }
  }

  /// Calls back with the present status, then with each newer one, on a thread of the client's, one call at a
  /// time. What is thrown is counted (in ``diagnostics()``) and otherwise without effect.
  @discardableResult
  public func onStatus(_ tell: @escaping @Sendable (SyncStatus) throws -> Void) throws -> StatusSubscription {
    try translated { StatusSubscription(core: try core.addStatusListener(listener: Listener(tell))) }
  }

  /// What is applied to the store from now on. A reader that is too slow for it is told how much it missed.
  public func changes() throws -> AsyncStream<Change> {
    let feed = try translated { try core.changes() }
    return pulled { await feed.next() } cancel: { feed.cancel() }
  }

  // MARK: Account

  /// The devices of this account, revoked ones included, as the service knows them now.
  ///
  /// - Throws: ``RequestError``.
  public func devices() async throws -> [DeviceInfo] {
    try await cancellable { try await self.core.devices(cancel: $0) }
  }

  /// Shuts a device out of the account, for ever.
  ///
  /// - Returns: Its id as the service confirms it.
  /// - Throws: ``RequestError``. After a cancel the service may have done it.
  @discardableResult
  public func revokeDevice(_ id: String) async throws -> String {
    try await cancellable { try await self.core.revokeDevice(id: id, cancel: $0) }
  }

  /// Ends the syncing and closes the client, with or without what is in the store. Where a wipe fails the
  /// client is stopped and open.
  ///
  /// - Throws: ``DataError``.
  public func signOut(_ data: SignOut) async throws {
    try await translated { try await core.signOut(data: data) }
  }

  /// A picture for a support request, as JSON: settings, past statuses, counters and failures. It holds no
  /// token, ticket, cookie or content.
  public func diagnostics() throws -> String {
    try translated { try core.diagnosticsJson() }
  }
}

/// What a stream of statuses gave last. Its reader is one task, but nothing in the type says so.
private final class Latest: @unchecked Sendable {
  private let lock = NSLock()
  private var last: Int64?

  var version: Int64? {
    get { lock.withLock { last } }
    set { lock.withLock { last = newValue } }
  }
}
