import Evenkeel

/// The status in a few words, for a badge or a status line.
public struct Badge: Hashable, Sendable {
  /// What a user sees at a glance.
  public enum Mood: Sendable {
    /// Everything is where it belongs.
    case good
    /// On the way there.
    case busy
    /// Something is in the way, and the client deals with it.
    case waiting
    /// The user has to do something.
    case asks
  }

  public let mood: Mood
  public let text: String

  public init(_ status: SyncStatus) {
    var parts: [String] = []
    switch (status.lifecycle, status.state) {
    case (.suspended, _): parts.append("paused")
    case (.stopped, _): parts.append("not syncing")
    case (.running, .synced): parts.append("synced")
    case (.running, .syncing): parts.append("syncing")
    case (.running, .degraded):
      parts.append(status.cause.map { "\(Self.trouble(status.layer)) (\($0))" } ?? "trouble")
      if let wait = status.nextAttemptIn {
        parts.append("next attempt in \(wait.components.seconds + 1) s")
      }
    }
    if status.pending > 0 { parts.append("\(status.pending) to send") }
    if let ask = Self.words(status.ask) { parts.append(ask) }
    text = parts.joined(separator: " · ")
    mood =
      if status.ask != .none {
        .asks
      } else if status.lifecycle != .running || status.state == .degraded {
        .waiting
      } else {
        status.state == .synced ? .good : .busy
      }
  }

  private static func trouble(_ layer: Layer?) -> String {
    switch layer {
    case .device: "no network"
    case .account: "sign-in needed"
    case .store: "trouble on this device"
    case .stream: "changes come late"
    default: "the service has trouble"
    }
  }

  private static func words(_ ask: Ask) -> String? {
    switch ask {
    case .none: nil
    case .signIn: "please sign in again"
    case .deviceRevoked: "this device was signed out"
    case .resolveConflicts: "please choose a version"
    case .reviewRejected: "some notes were refused"
    case .freeStorage: "no room is left"
    }
  }
}
