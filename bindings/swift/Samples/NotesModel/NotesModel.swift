import Evenkeel
import Foundation

// Where there is SwiftUI it watches the model by itself. (Some toolchains for Linux cannot link Observation.)
#if canImport(SwiftUI)
  import Observation
#endif

/// A note, as this app keeps it.
public struct Note: Codable, Hashable, Sendable {
  public var content: String
  public var isPinned: Bool?

  public init(content: String) {
    self.content = content
  }

  // So that `put` knows which fields are this app's: others are left as they are.
  enum CodingKeys: String, CodingKey, CaseIterable {
    case content, isPinned
  }

  static let known = CodingKeys.allCases.map(\.stringValue)
}

/// What both samples show and do: the command line reads it, SwiftUI watches it.
#if canImport(SwiftUI)
  @Observable
#endif
@MainActor
public final class NotesModel {
  /// The status in a few words.
  public private(set) var badge: Badge { didSet { changed() } }
  /// The last written first.
  public private(set) var notes: [Record<Note>] = [] { didSet { changed() } }
  /// What the user has to choose.
  public private(set) var conflicts: [Conflict<Note>] = [] { didSet { changed() } }
  /// Called after each change, for whoever does not watch.
  public var changed: @MainActor () -> Void = {}

  public let client: EvenkeelClient
  private let records: Records<Note>

  public init(_ client: EvenkeelClient) throws {
    self.client = client
    records = client.records(of: Note.self)
    badge = Badge(try client.status())
  }

  /// Keeps the picture fresh until the task is cancelled or the client closed.
  public func run() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.followStatus() }
      group.addTask { await self.followNotes() }
      group.addTask { await self.countDown() }
      await group.next()
      group.cancelAll()
    }
  }

  private func followStatus() async {
    for await status in client.statuses() {
      badge = Badge(status)
      if status.conflicts != conflicts.count { await lookAtConflicts() }
    }
  }

  private func followNotes() async {
    while !Task.isCancelled {
      do {
        for try await page in try records.observePage(limit: 1_000) { notes = page.items }
        return
      } catch DataError.suspended {
        // The files are closed while the app sleeps: on with the next status.
        for await status in client.statuses() where status.lifecycle != .suspended { break }
      } catch {
        return
      }
    }
  }

  /// A wait that runs down is no new status: whoever shows it asks for it.
  private func countDown() async {
    while (try? await Task.sleep(for: .seconds(1))) != nil, let status = try? client.status() {
      badge = Badge(status)
    }
  }

  private func lookAtConflicts() async {
    conflicts = (try? await records.conflicts()) ?? conflicts
  }

  /// Works without a network too, as everything here: what is written is kept and sent later.
  @discardableResult
  public func add(_ content: String) async throws -> String {
    let id = UUID().uuidString.lowercased()
    try await records.put(id, Note(content: content))
    return id
  }

  public func edit(_ id: String, _ content: String) async throws {
    guard var note = try await records.get(id)?.fields else { throw DataError.notFound }
    note.content = content
    try await records.put(id, note, known: Note.known)
  }

  public func delete(_ id: String) async throws {
    try await records.delete(id)
  }

  public func resolve(_ id: String, _ choice: Resolution<Note>) async throws {
    try await records.resolve(id, choice)
    await lookAtConflicts()
  }
}
