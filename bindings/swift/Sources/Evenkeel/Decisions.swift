// What needs a decision of the app's, or of its user: conflicts and refused writes.

import EvenkeelFFI
import Foundation

/// A record that changed here and on the server. Both sides are kept until it is resolved or written.
public struct Conflict<Fields: Sendable>: Sendable, Identifiable {
  /// Which record.
  public let id: String
  /// What both sides began with; nil where there was no such record.
  public let base: Fields?
  /// What this app wants; nil for a deletion.
  public let local: Record<Fields>?
  /// What the server has; nil where it has no such record (any more).
  public let server: Record<Fields>?
  /// What stands against what; nil where the two would merge by now.
  public let clash: Clash?
  /// Since when.
  public let since: Date
}

/// What becomes of a conflict.
public enum Resolution<Fields: Sendable>: Sendable {
  /// The local side replaces the server's.
  case keepLocal
  /// The server's side replaces the local one.
  case keepServer
  /// This replaces both.
  case merged(Fields)
}

extension Records {
  /// The records of this type that wait for a decision, oldest first. Those of other types, too, are among
  /// ``EvenkeelClient/conflicts()``.
  public func conflicts() async throws -> [Conflict<Fields>] {
    try await translated { try await core.conflicts() }.compactMap { stored in
      guard let local = try? stored.local.map(record), let server = try? stored.server.map(record) else {
        return nil
      }
      return Conflict(
        id: stored.id, base: stored.baseJson.flatMap { try? value($0) }, local: local, server: server,
        clash: stored.clash, since: Date(ms: stored.sinceMs))
    }
  }

  /// Decides a conflict. The decision is a write like any other.
  ///
  /// - Throws: ``DataError/notFound`` where it is decided already.
  @discardableResult
  public func resolve(_ id: String, _ choice: Resolution<Fields>) async throws -> Write {
    let choice: EvenkeelFFI.Resolution =
      switch choice {
      case .keepLocal: .keepLocal
      case .keepServer: .keepServer
      case .merged(let fields): .merged(json: try text(fields))
      }
    return try await translated { Write(core: try await core.resolve(id: id, choice: choice)) }
  }
}

extension EvenkeelClient {
  /// The records that wait for a decision, of whatever type, oldest first.
  public func conflicts() async throws -> [StoredConflict] {
    try await translated { try await core.conflicts() }
  }

  /// What waits for the server, in the order of the writes.
  public func pending() async throws -> PendingWrites {
    try await translated { try await core.pending() }
  }

  /// The writes that the server does not take, oldest first. Each stays in the app's view until it is sent
  /// again, discarded or replaced.
  public func rejected() async throws -> [Rejected] {
    try await translated { try await core.rejected() }
  }

  /// Sends a parked write once more, on top of what the server has by now.
  @discardableResult
  public func retry(_ id: String) async throws -> Write {
    try await translated { Write(core: try await core.retry(id: id)) }
  }

  /// Forgets a parked write: the app sees the server's record again.
  public func discard(_ id: String) async throws {
    try await translated { try await core.discard(id: id) }
  }
}
