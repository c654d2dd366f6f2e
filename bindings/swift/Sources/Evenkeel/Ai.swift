import EvenkeelFFI
import Foundation

/// How things stand with AI.
public typealias AiStatus = EvenkeelFFI.AiStatus
/// Whether the app can offer what needs AI.
public typealias AiState = EvenkeelFFI.AiState
/// What the service knows of the user's key.
public typealias AiSession = EvenkeelFFI.AiSession
/// One record, as far as the provider is told of it.
public typealias AiNote = EvenkeelFFI.AiNote
/// What the provider thinks of a text. Its words are not to be trusted to be of any set.
public typealias Analysis = EvenkeelFFI.Analysis

/// The service's AI, with its client's token and device. A capability of its own: its trouble never shows in
/// the sync status. Every call throws ``AiError``, sends at most three requests, and says at once how long a
/// failure is still waited out.
public struct EvenkeelAi: Sendable {
  let core: EvenkeelFFI.EvenkeelAi

  /// How things stand now.
  public func status() throws -> AiStatus {
    try translated { try core.status() }
  }

  /// The present status, then each newer one; a slow reader skips some, but never the latest.
  public func statuses() throws -> AsyncStream<AiStatus> {
    let feed = try translated { try core.statuses() }
    return pulled { await feed.next() } cancel: { feed.cancel() }
  }

  /// Hands the user's own key to the service.
  ///
  /// - Parameter provider: `gemini`, `openrouter` or another one that the service knows.
  @discardableResult
  public func connect(provider: String, apiKey: String) async throws -> AiSession {
    try await cancellable { try await core.connect(provider: provider, apiKey: apiKey, cancel: $0) }
  }

  /// The session, as the service knows it now.
  public func session() async throws -> AiSession {
    try await cancellable { try await core.session(cancel: $0) }
  }

  /// Ends the session: the service forgets the key.
  @discardableResult
  public func disconnect() async throws -> AiSession {
    try await cancellable { try await core.disconnect(cancel: $0) }
  }

  /// A title, tags and a type for a text.
  public func analyze(_ content: String) async throws -> Analysis {
    try await cancellable { try await core.analyze(content: content, cancel: $0) }
  }

  /// The same for many texts, in their order. The service takes 512 KiB.
  public func analyze(_ contents: [String]) async throws -> [Analysis] {
    try await cancellable { try await core.batch(contents: contents, cancel: $0) }
  }

  /// A text, tidied up.
  public func cleanup(_ content: String) async throws -> String {
    try await cancellable { try await core.cleanup(content: content, cancel: $0) }
  }

  /// The ids of those of the records that fit, the best first.
  public func search(_ query: String, in notes: [AiNote]) async throws -> [String] {
    try await cancellable { try await core.search(query: query, notes: notes, cancel: $0) }
  }

  /// The records of a day in a few sentences.
  public func dailyBrief(of notes: [AiNote]) async throws -> String {
    try await cancellable { try await core.dailyBrief(notes: notes, cancel: $0) }
  }

  /// What was said in a recording, up to some 390 KB.
  ///
  /// - Parameter mimeType: Its encoding, as `audio/mp4`.
  public func transcribe(_ audio: Data, mimeType: String) async throws -> String {
    try await cancellable { try await core.transcribe(audio: audio, mimeType: mimeType, cancel: $0) }
  }
}

extension EvenkeelClient {
  /// The service's AI.
  ///
  /// - Throws: ``AiError``.
  public func ai() throws -> EvenkeelAi {
    try translated { EvenkeelAi(core: try core.ai()) }
  }
}
