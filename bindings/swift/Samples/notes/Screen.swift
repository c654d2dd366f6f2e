import Evenkeel
import Foundation
import NotesModel

/// Draws the status line and does what is typed.
@MainActor
final class Screen {
  private let model: NotesModel
  private let terminal = isatty(STDOUT_FILENO) == 1
  private var shown: Badge?
  private var asked: Set<String> = []

  init(_ model: NotesModel) {
    self.model = model
  }

  func run() async {
    say("add TEXT · edit N TEXT · rm N · list · keep N mine|theirs|both · offline · online · retry · quit")
    model.changed = { [unowned self] in show() }
    show()
    let following = Task { await model.run() }
    for await line in typed() {
      shown = nil
      do {
        guard try await act(line) else { break }
      } catch {
        say("\(error)")
      }
      draw()
    }
    following.cancel()
    await following.value
  }

  private func show() {
    for conflict in model.conflicts where asked.insert(conflict.id).inserted { ask(conflict) }
    draw()
  }

  private func draw() {
    guard model.badge != shown else { return }
    shown = model.badge
    let (color, sign) =
      switch model.badge.mood {
      case .good: (32, "●")
      case .busy: (36, "◌")
      case .waiting: (33, "▲")
      case .asks: (31, "!")
      }
    if terminal {
      say("\r\u{1b}[2K\u{1b}[\(color)m\(sign) \(model.badge.text)\u{1b}[0m > ", terminator: "")
    } else {
      say("\(sign) \(model.badge.text)")
    }
  }

  private func ask(_ conflict: Conflict<Note>) {
    func side(_ record: Record<Note>?) -> String { record.map { "“\(clean($0.fields.content))”" } ?? "deleted" }
    let number = (model.notes.firstIndex { $0.id == conflict.id } ?? 0) + 1
    say("\nnote \(number) was changed here and elsewhere:")
    say("  mine    \(side(conflict.local))\n  theirs  \(side(conflict.server))")
    shown = nil
    draw()
  }

  /// False at the end.
  private func act(_ line: String) async throws -> Bool {
    let words = line.split(separator: " ", maxSplits: 2).map(String.init)
    let rest = line.split(separator: " ", maxSplits: 1).dropFirst().first.map(String.init) ?? ""
    switch words.first {
    case "add" where !rest.isEmpty: try await model.add(rest)
    case "edit" where words.count == 3: try await model.edit(try note(words[1]), words[2])
    case "rm" where words.count == 2: try await model.delete(try note(words[1]))
    case "keep" where words.count == 3:
      let id = try note(words[1])
      try await model.resolve(id, try choice(words[2], id))
      asked.remove(id)
    case "list":
      for (n, note) in model.notes.enumerated() { say("\(n + 1). \(clean(note.fields.content))") }
    case "offline": try model.client.setNetwork(.down)
    case "online": try model.client.setNetwork(.up)
    case "retry": try model.client.retryNow()
    case "quit": return false
    case nil: break
    default: say("what?")
    }
    return true
  }

  private func note(_ number: String) throws -> String {
    guard let n = Int(number), model.notes.indices.contains(n - 1) else { throw DataError.notFound }
    return model.notes[n - 1].id
  }

  private func choice(_ word: String, _ id: String) throws -> Resolution<Note> {
    switch word {
    case "mine": return .keepLocal
    case "theirs": return .keepServer
    default:
      guard let conflict = model.conflicts.first(where: { $0.id == id }) else { throw DataError.notFound }
      let both = [conflict.local, conflict.server].compactMap { $0?.fields.content }
      return .merged(Note(content: both.joined(separator: " / ")))
    }
  }
}

/// Not `print`: what it keeps back can only be flushed by a name that Swift 6 has for a data race.
private func say(_ text: String, terminator: String = "\n") {
  FileHandle.standardOutput.write(Data((text + terminator).utf8))
}

/// Without what would command a terminal.
private func clean(_ text: String) -> String {
  String(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
}

/// Lines from standard input: a thread of its own waits for them.
private func typed() -> AsyncStream<String> {
  let (lines, told) = AsyncStream.makeStream(of: String.self)
  Thread.detachNewThread {
    while let line = readLine() { told.yield(line) }
    told.finish()
  }
  return lines
}
