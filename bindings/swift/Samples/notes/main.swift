// `notes URL FOLDER`: a notes app for the terminal. The token is in EVENKEEL_TOKEN.

import Evenkeel
import Foundation
import NotesModel

guard CommandLine.arguments.count == 3 else {
  FileHandle.standardError.write(Data("usage: notes URL FOLDER (with the token in EVENKEEL_TOKEN)\n".utf8))
  exit(2)
}
let folder = URL(fileURLWithPath: CommandLine.arguments[2])
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
let config = EvenkeelConfig(
  url: CommandLine.arguments[1], accountId: "demo", storePath: folder.appending(path: "notes.db").path)

do {
  let client = try await EvenkeelClient(config) { _ in
    // An app would ask its session here, and refresh the token when `reason` is `.refused`.
    guard let token = ProcessInfo.processInfo.environment["EVENKEEL_TOKEN"] else { throw SignedOut() }
    return token
  }
  try client.start()
  await Screen(try NotesModel(client)).run()
  await client.close()
} catch let error as any EvenkeelError {
  FileHandle.standardError.write(Data("\(error)\n".utf8))
  exit(1)
}
