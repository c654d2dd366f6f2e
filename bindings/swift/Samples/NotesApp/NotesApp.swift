// A SwiftUI app on the same model as the command-line sample. Not built here: it needs Apple's frameworks. In
// Xcode: a new app with this file and the folder NotesModel, and the package Evenkeel.

import Evenkeel
import SwiftUI

@main
struct NotesApp: App {
  @State private var model: NotesModel?
  @State private var trouble: String?
  @State private var watch: NetworkWatch?

  var body: some Scene {
    WindowGroup {
      Group {
        if let model {
          NotesView(model: model).syncs(model.client)
        } else {
          ProgressView(trouble ?? "Opening…")
        }
      }
      .task {
        do {
          let folder = URL.applicationSupportDirectory
          try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
          let config = EvenkeelConfig(
            url: "https://sync.example.com", accountId: Session.shared.accountId,
            storePath: folder.appending(path: "notes.db").path)
          let client = try await EvenkeelClient(config) { reason in try await Session.shared.token(reason) }
          try client.start()
          watch = NetworkWatch(client)
          let opened = try NotesModel(client)
          model = opened
          await opened.run()
        } catch {
          trouble = error.localizedDescription
        }
      }
    }
    .backgroundTask(.appRefresh("sync")) {
      guard let client = await model?.client else { return }
      // The system cancels the task when its time is up, and the wait ends with it.
      _ = try? await client.syncOnce(within: .seconds(25))
    }
  }
}

/// The app's own sign-in: here a token that does not change.
actor Session {
  static let shared = Session()
  nonisolated let accountId = "demo"

  func token(_ reason: TokenReason) async throws -> String {
    guard reason == .needed else { throw SignedOut() }
    return "demo-token"
  }
}

struct NotesView: View {
  let model: NotesModel
  @State private var draft = ""
  @State private var trouble: String?

  var body: some View {
    NavigationStack {
      List {
        ForEach(model.conflicts) { conflict in
          ConflictRow(conflict: conflict) { choice in
            attempt { try await model.resolve(conflict.id, choice) }
          }
        }
        ForEach(model.notes) { note in Text(note.fields.content) }
          .onDelete { rows in
            let ids = rows.map { model.notes[$0].id }
            attempt { for id in ids { try await model.delete(id) } }
          }
        TextField("New note", text: $draft).onSubmit {
          let text = draft
          draft = ""
          attempt { try await model.add(text) }
        }
      }
      .navigationTitle("Notes")
      .safeAreaInset(edge: .bottom) { BadgeView(badge: model.badge) { try? model.client.retryNow() } }
      .alert(trouble ?? "", isPresented: Binding { trouble != nil } set: { _ in trouble = nil }) {}
    }
  }

  private func attempt(_ work: @escaping @MainActor () async throws -> Void) {
    Task {
      do { try await work() } catch { trouble = error.localizedDescription }
    }
  }
}

struct BadgeView: View {
  let badge: Badge
  let retry: () -> Void

  var body: some View {
    Button(action: retry) {
      Label(badge.text, systemImage: symbol).font(.footnote).foregroundStyle(color)
    }
    .padding(8)
  }

  private var symbol: String {
    switch badge.mood {
    case .good: "checkmark.circle"
    case .busy: "arrow.triangle.2.circlepath"
    case .waiting: "exclamationmark.triangle"
    case .asks: "person.crop.circle.badge.exclamationmark"
    }
  }

  private var color: Color {
    switch badge.mood {
    case .good: .green
    case .busy: .secondary
    case .waiting: .orange
    case .asks: .red
    }
  }
}

struct ConflictRow: View {
  let conflict: Conflict<Note>
  let choose: (Resolution<Note>) -> Void

  var body: some View {
    VStack(alignment: .leading) {
      Text("Changed here and elsewhere").font(.headline)
      Button("Keep mine: \(conflict.local?.fields.content ?? "deleted")") { choose(.keepLocal) }
      Button("Keep theirs: \(conflict.server?.fields.content ?? "deleted")") { choose(.keepServer) }
    }
    .buttonStyle(.bordered)
  }
}
