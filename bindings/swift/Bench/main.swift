// What the border costs: `build.sh bench`. Prints the tables of the guide. What the same takes in Rust comes in
// EVENKEEL_RUST, a name and nanoseconds a line.

import Evenkeel
import EvenkeelFFI
import Foundation

struct Note: Codable, Sendable {
  var content: String
}

let list = 1_000
let note = Note(content: "note 17, about as long as a line of text is that somebody types")
let json = #"{"content":"\#(note.content)"}"#
let folder = FileManager.default.temporaryDirectory.appending(path: "evenkeel-\(UUID())")
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: folder) }

func config(_ name: String, url: String = "http://127.0.0.1:9") -> EvenkeelConfig {
  EvenkeelConfig(
    url: url, accountId: "demo", storePath: folder.appending(path: name).path, durable: false, proxy: "none",
    outboxSoftMax: 100_000, outboxHardMax: 100_000)
}

// In a process of its own, since memory that was used is not given back.
if let url = ProcessInfo.processInfo.environment["EVENKEEL_EDGE"] {
  try await memory(url)
} else {
  try await calls()
  try await statuses()
}

/// Reads and writes, as text through the generated code and as values through ours.
func calls() async throws {
  let rust = Dictionary(
    uniqueKeysWithValues: (ProcessInfo.processInfo.environment["EVENKEEL_RUST"] ?? "").split(separator: "\n").map {
      let words = $0.split(separator: " ")
      return (String(words[0]), Double(words[1]) ?? .nan)
    })
  func row(_ name: String, _ what: String, text: Double, values: Double?) {
    guard let base = rust[name] else { fatalError("Rust did not measure \(name)") }
    func beside(_ ns: Double) -> String { "\(shown(ns)) (\(String(format: "%.1f", ns / base)))" }
    say("| \(what) | \(shown(base)) | \(beside(text)) | \(values.map(beside) ?? "-") |")
  }
  say("| call | Rust | text through the border | values, by `Records` |\n|---|--:|--:|--:|")
  let token = CancelToken()
  row("noop", "no-op", text: try await time(100_000) { _ in token.cancel() }, values: nil)

  let core = try await EvenkeelFFI.EvenkeelClient.open(config: config("text"), tokenProvider: NoToken())
  let client = try await Evenkeel.EvenkeelClient(config("values")) { _ in throw SignedOut() }
  let notes = client.records(of: Note.self)
  for n in 0..<list {
    _ = try await core.put(id: id(n), json: json)
    try await notes.put(id(n), note)
  }
  row(
    "get", "get", text: try await time(5_000) { _ = try await core.get(id: id($0)) },
    values: try await time(5_000) { _ = try await notes.get(id($0)) })
  row(
    "put", "put", text: try await time(1_000) { _ = try await core.put(id: id($0), json: json) },
    values: try await time(1_000) { try await notes.put(id($0), note) })
  let query = ListQuery(order: .id, limit: UInt32(list))
  row(
    "list", "list of 1,000",
    text: try await time(50) { _ in
      guard try await core.list(query: query).items.count == list else { fatalError("a list of another length") }
    },
    values: try await time(50) { _ in
      guard try await notes.page(order: .id, limit: list).items.count == list else {
        fatalError("a list of another length")
      }
    })
  await core.shutDown()
  await client.close()
}

/// From the app's word to the status that comes of it, the core's own time included.
func statuses() async throws {
  let client = try await Evenkeel.EvenkeelClient(config("statuses")) { _ in "demo-token" }
  try client.start()
  var took: [Double] = []
  let clock = ContinuousClock()
  for _ in 0..<200 {
    var stream = client.statuses().makeAsyncIterator()
    while let status = await stream.next(), status.cause == .offline {}
    // Offline shows at once.
    let begun = clock.now
    try client.setNetwork(.down)
    while let status = await stream.next(), status.cause != .offline {}
    took.append(Double((clock.now - begun).ns))
    try client.setNetwork(.up)
  }
  took.sort()
  say(
    "\nA status is there \(shown(took[took.count / 2])) after its cause (median of \(took.count), the core's own time "
      + "included; 99 of 100 within \(shown(took[took.count * 99 / 100])), the slowest \(shown(took[took.count - 1]))).")
  await client.close()
}

/// A client that is connected and has nothing to do.
func memory(_ url: String) async throws {
  let before = resident()
  let client = try await Evenkeel.EvenkeelClient(config("idle", url: url)) { _ in "demo-token" }
  try client.start()
  for await status in client.statuses() where status.state == .synced { break }
  let after = resident()
  say("\nAn idle client: \(after - before) KiB more than the \(before) KiB of the process without it.")
  await client.close()
}

/// The best of some rounds, in nanoseconds a call.
func time(_ calls: Int, _ call: (Int) async throws -> Void) async throws -> Double {
  let clock = ContinuousClock()
  var best = Double.infinity
  for _ in 0..<5 {
    let took = try await clock.measure { for n in 0..<calls { try await call(n) } }
    best = min(best, Double(took.ns) / Double(calls))
  }
  return best
}

func id(_ n: Int) -> String { "r\(n % list)" }

func shown(_ ns: Double) -> String {
  switch ns {
  case ..<1_000: String(format: "%.0f ns", ns)
  case ..<1_000_000: String(format: "%.1f µs", ns / 1_000)
  default: String(format: "%.2f ms", ns / 1_000_000)
  }
}

func say(_ line: String) {
  FileHandle.standardOutput.write(Data((line + "\n").utf8))
}

/// In KiB.
func resident() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
  return Int(line.filter(\.isNumber)) ?? 0
}

extension Duration {
  var ns: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}

final class NoToken: EvenkeelFFI.TokenProvider {
  func token(reason: EvenkeelFFI.TokenReason) async throws -> String { throw TokenProviderError.SignedOut }
}
