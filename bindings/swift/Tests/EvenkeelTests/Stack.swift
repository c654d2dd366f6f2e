import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// The reference service as a process of its own. It ends with `stop`, and with the tests' process however that
/// ends: it is killed once nobody holds its shell's input any more.
final class Stack: @unchecked Sendable {
  let edge: String
  private let control: String
  private let shell: Process
  private let alive: Pipe

  init(_ settings: [String]) throws {
    guard let program = ProcessInfo.processInfo.environment["EVENKEEL_STACK"] else {
      throw Trouble("EVENKEEL_STACK has to name recovery-check: run build.sh test")
    }
    shell = Process()
    alive = Pipe()
    let said = Pipe()
    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
    let settings = ["rate_limit_requests=100000"] + settings
    shell.arguments =
      ["-c", #""$0" stack "$@" & read -r _; kill -9 $!"#, program] + settings.flatMap { ["--set", $0] }
    shell.standardInput = alive
    shell.standardOutput = said
    try shell.run()
    // It says where it listens, then `ready`.
    var text = ""
    while !text.contains("ready\n") {
      let more = said.fileHandleForReading.availableData
      if more.isEmpty { throw Trouble("the service did not start: \(text)") }
      text += String(decoding: more, as: UTF8.self)
    }
    func url(_ part: String) -> String? {
      text.split(separator: "\n").first { $0.hasPrefix("\(part) ") }.map { String($0.dropFirst(part.count + 1)) }
    }
    guard let edge = url("edge"), let control = url("control") else { throw Trouble("no URLs: \(text)") }
    (self.edge, self.control) = (edge, control)
  }

  /// Switches a fault on; the value is JSON.
  func set(_ fault: String, _ value: String = "true") async throws {
    _ = try await ask("PUT", "/faults/\(fault)", value)
  }

  /// Everything works again.
  func reset() async throws {
    _ = try await ask("POST", "/reset", "")
  }

  /// How many requests have come so far.
  func requests() async throws -> Int {
    let log = try JSONSerialization.jsonObject(with: try await ask("GET", "/requests", nil)) as? [String: Any]
    return (log?["requests"] as? [Any])?.count ?? -1
  }

  /// Another device's records, straight to the service: a client would keep to its pace.
  func fill(_ count: Int) async throws {
    for begin in stride(from: 0, to: count, by: 100) {
      let operations = (begin..<min(begin + 100, count)).map { n in
        let at = 1_700_000_000_000 + n
        return #"{"requestId":"fill-\#(n + 10_000)","op":"upsert","noteId":"r\#(n)","baseVersion":0,"#
          + #""note":{"id":"r\#(n)","text":"\#(n)","createdAt":\#(at),"updatedAt":\#(at),"version":0}}"#
      }
      let body = #"{"operations":[\#(operations.joined(separator: ","))]}"#
      _ = try await ask("POST", "/api/v2/sync/push", body, at: edge)
    }
  }

  private func ask(_ method: String, _ path: String, _ body: String?, at base: String? = nil) async throws -> Data {
    guard let url = URL(string: (base ?? control) + path) else { throw Trouble("\(path) makes no URL") }
    var request = URLRequest(url: url)
    request.setValue("application/json", forHTTPHeaderField: "Content-Type")
    request.setValue("Bearer demo-token", forHTTPHeaderField: "Authorization")
    request.setValue("6a6f0d4c-2f38-4c0e-9a9c-0d5e7d5c2b11", forHTTPHeaderField: "X-Device-Id")
    request.httpMethod = method
    request.httpBody = body.map { Data($0.utf8) }
    let (data, answer) = try await URLSession.shared.data(for: request)
    guard (answer as? HTTPURLResponse)?.statusCode == 200 else {
      throw Trouble("\(method) \(path): \(String(decoding: data, as: UTF8.self))")
    }
    return data
  }

  func stop() {
    try? alive.fileHandleForWriting.close()
    shell.waitUntilExit()
  }
}

struct Trouble: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
